import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message

from atelier.v1 import (
    api_key_service_pb2,
    billing_service_pb2,
    image_service_pb2,
    job_service_pb2,
    model_service_pb2,
    tenant_service_pb2,
    usage_service_pb2,
)
from atelier.v1.api_key_service_pb2 import RotateApiKeyRequest
from atelier.v1.billing_service_pb2 import GetInvoiceRequest, SimulatePriceRequest
from atelier.v1.image_pb2 import ImageSpec
from atelier.v1.job_service_pb2 import CreateJobRequest, GetJobRequest, JobSpec, ListJobsRequest
from atelier.v1.tenant_service_pb2 import CreateTenantRequest, Tenant
from atelier.v1.usage_service_pb2 import QueryUsageRequest, UsageDimension
from services.gateway.request_validation import (
    RequestRules,
    has_unknown_fields,
    load_request_rules,
)

REQUEST_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture(scope="module")
def rules() -> RequestRules:
    return load_request_rules()


def job_request(*specs: JobSpec) -> CreateJobRequest:
    request = CreateJobRequest(parent="tenants/-", request_id=REQUEST_ID)
    request.job.specs.extend(specs or [JobSpec(image=ImageSpec(prompt="a red mug"))])
    return request


def found(rules: RequestRules, request: Message) -> list[tuple[str, str]]:
    return [(violation.field, violation.reason) for violation in rules.violations(request)]


def test_a_job_of_one_prompt_breaks_no_rule(rules: RequestRules) -> None:
    assert found(rules, job_request()) == []


@pytest.mark.parametrize(
    ("bad", "field", "rule"),
    [
        (ImageSpec(), "prompt", "string.min_len"),
        (ImageSpec(prompt="x" * 20_000), "prompt", "string.max_len"),
        (ImageSpec(width=500), "width", "image_spec.width.multiple_of_16"),
        (ImageSpec(height=32), "height", "int32.gte_lte"),
        (ImageSpec(width=8192), "width", "int32.gte_lte"),
        (ImageSpec(num_inference_steps=201), "num_inference_steps", "int32.gte_lte"),
        (ImageSpec(guidance_scale=float("nan")), "guidance_scale", "double.finite"),
        (ImageSpec(model="large"), "model", "string.pattern"),
        (ImageSpec(output_quality=101), "output_quality", "int32.gte_lte"),
        (ImageSpec(labels={"SKU": "1"}), 'labels["SKU"]', "string.pattern"),
    ],
)
def test_a_bad_value_is_named_with_its_path_and_rule(
    rules: RequestRules, bad: ImageSpec, field: str, rule: str
) -> None:
    request = job_request(JobSpec(image=ImageSpec(prompt="a mug")), JobSpec(image=bad))

    assert (f"job.specs[1].image.{field}", rule) in found(rules, request)


def test_a_job_without_specs_is_refused(rules: RequestRules) -> None:
    request = CreateJobRequest(parent="tenants/acme", request_id=REQUEST_ID)
    request.job.display_name = "empty"

    assert found(rules, request) == [("job.specs", "repeated.min_items")]


def test_1001_images_are_refused_however_they_are_spread(rules: RequestRules) -> None:
    image = ImageSpec(prompt="a mug")
    spread = job_request(JobSpec(image=image, count=500), JobSpec(image=image, count=501))
    listed = job_request(*(JobSpec(image=image) for _ in range(1001)))
    enough = job_request(JobSpec(image=image, count=1000))

    assert found(rules, spread) == [("job.specs", "job.image_count_max")]
    assert ("job.specs", "job.image_count_max") in found(rules, listed)
    assert found(rules, enough) == []


def test_a_seed_must_leave_room_for_the_count(rules: RequestRules) -> None:
    last = ImageSpec(prompt="a mug", seed=2**64 - 1)

    assert found(rules, job_request(JobSpec(image=last, count=1))) == []
    assert found(rules, job_request(JobSpec(image=last, count=2))) == [
        ("job.specs[0]", "job_spec.seed_range")
    ]


def test_a_client_ref_is_unique_in_its_job_and_names_one_image(rules: RequestRules) -> None:
    mug = ImageSpec(prompt="a mug", client_ref="SKU-1")

    assert found(rules, job_request(JobSpec(image=mug), JobSpec(image=mug))) == [
        ("job", "job.client_ref_unique")
    ]
    assert found(rules, job_request(JobSpec(image=mug, count=2))) == [
        ("job.specs[0]", "job_spec.client_ref_once")
    ]


def test_a_request_id_must_be_a_uuid(rules: RequestRules) -> None:
    request = job_request()
    request.request_id = "once"

    assert found(rules, request) == [("request_id", "string.uuid")]


def test_the_key_s_own_tenant_may_be_written_as_a_hyphen(rules: RequestRules) -> None:
    assert found(rules, GetJobRequest(name="tenants/-/jobs/abc234")) == []
    assert found(rules, GetJobRequest(name="tenants/acme/jobs/abc234")) == []
    assert found(rules, GetJobRequest(name="jobs/abc234")) == [("name", "string.pattern")]


@pytest.mark.parametrize("page_size", [-1, 1001])
def test_a_page_has_at_most_a_thousand_entries(rules: RequestRules, page_size: int) -> None:
    request = ListJobsRequest(parent="tenants/-", page_size=page_size)

    assert found(rules, request) == [("page_size", "int32.gte_lte")]


def test_operator_is_no_name_for_a_tenant(rules: RequestRules) -> None:
    request = CreateTenantRequest(
        tenant_id="operator", tenant=Tenant(display_name="Us"), request_id=REQUEST_ID
    )

    assert found(rules, request) == [("tenant_id", "string.not_in")]


def test_a_label_key_goes_with_grouping_by_label(rules: RequestRules) -> None:
    request = QueryUsageRequest(parent="tenants/-", group_by=[UsageDimension.USAGE_DIMENSION_LABEL])
    without = found(rules, request)
    request.label_key = "season"

    assert without == [("", "query_usage.label_key")]
    assert found(rules, request) == []


def test_a_grace_time_is_at_most_thirty_days(rules: RequestRules) -> None:
    request = RotateApiKeyRequest(name="tenants/-/apiKeys/abc", request_id=REQUEST_ID)
    request.grace.FromSeconds(31 * 24 * 3600)

    assert found(rules, request) == [("grace", "duration.gte_lte")]


def test_the_running_period_has_a_name_of_its_own(rules: RequestRules) -> None:
    assert found(rules, GetInvoiceRequest(name="tenants/-/invoices/current")) == []
    assert found(rules, GetInvoiceRequest(name="tenants/-/invoices/2026-13")) == [
        ("name", "string.pattern")
    ]


def test_one_of_two_ways_to_name_a_price_is_needed(rules: RequestRules) -> None:
    request = SimulatePriceRequest(parent="tenants/acme", billing_period="2026-11")

    assert found(rules, request) == [("price", "required")]


def test_every_request_s_rules_compile(rules: RequestRules) -> None:

    modules = (
        api_key_service_pb2,
        billing_service_pb2,
        image_service_pb2,
        job_service_pb2,
        model_service_pb2,
        tenant_service_pb2,
        usage_service_pb2,
    )
    for module in modules:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rules.violations(message_factory.GetMessageClass(method.input_type)())


def test_a_field_of_a_newer_contract_is_noticed() -> None:
    request = GetJobRequest.FromString(
        GetJobRequest(name="tenants/-/jobs/abc").SerializeToString() + b"\xc2\x3e\x01x"
    )

    assert has_unknown_fields(request)
    assert not has_unknown_fields(job_request())
