"""Every bad input gets a clear status with its reason and fields, and leaves nothing behind."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atelier.v1 import billing_service_pb2, job_service_pb2, money_pb2, tenant_service_pb2
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    read_one,
    read_refusal,
    refusal,
    spec,
)

pytestmark = pytest.mark.integration

USD = money_pb2.Money(currency_code="USD", nanos=1)
PAST = Timestamp(seconds=int((datetime.now(UTC) - timedelta(hours=1)).timestamp()))
NO_TIME = Timestamp(seconds=10**15)


async def nothing_is_written(gateway: ServedGateway, studio: Studio) -> bool:
    counts = await gateway.rows(
        "SELECT (SELECT count(*) FROM jobs WHERE tenant_id = %(tenant)s),"
        " (SELECT count(*) FROM images WHERE tenant_id = %(tenant)s),"
        " (SELECT count(*) FROM requests WHERE tenant_id = %(tenant)s AND method = 'CreateJob'),"
        " (SELECT count(*) FROM transfers WHERE tenant_id = %(tenant)s AND kind = 'PENDING'),"
        " (SELECT sum(debits_pending)::bigint FROM accounts WHERE tenant_id = %(tenant)s)",
        tenant=studio.tenant_id,
    )
    return counts == [(0, 0, 0, 0, 0)]


BAD_JOBS: dict[str, tuple[Callable[[], job_service_pb2.CreateJobRequest], str, list[str]]] = {
    "no specs": (
        lambda: job_service_pb2.CreateJobRequest(
            parent="tenants/-", job=job_service_pb2.Job(display_name="x"), request_id=str(uuid4())
        ),
        "FIELD_VIOLATION",
        ["job.specs"],
    ),
    "1,001 images in one spec": (
        lambda: create_job(spec(1001)),
        "FIELD_VIOLATION",
        ["job.specs[0].count", "job.specs"],
    ),
    "1,001 images in all": (
        lambda: create_job(spec(1000), spec(1)),
        "FIELD_VIOLATION",
        ["job.specs"],
    ),
    "empty prompt": (
        lambda: create_job(spec(prompt="")),
        "FIELD_VIOLATION",
        ["job.specs[0].image.prompt"],
    ),
    "prompt of 20,000 characters": (
        lambda: create_job(spec(prompt="x" * 20_000)),
        "FIELD_VIOLATION",
        ["job.specs[0].image.prompt"],
    ),
    "prompt with a zero character": (
        lambda: create_job(spec(), spec(prompt="a\0b")),
        "FIELD_VIOLATION",
        ["job.specs[1].image.prompt"],
    ),
    "label with a zero character": (
        lambda: create_job(labels={"a": "\0"}),
        "FIELD_VIOLATION",
        ["job.labels"],
    ),
    "width that is no multiple of 16": (
        lambda: create_job(spec(), spec(), spec(), spec(width=100)),
        "FIELD_VIOLATION",
        ["job.specs[3].image.width"],
    ),
    "height over the model's limit": (
        lambda: create_job(spec(height=1024)),
        "FIELD_VIOLATION",
        ["job.specs[0].image.height"],
    ),
    "more pixels than the model draws": (
        lambda: create_job(spec(width=512, height=512)),
        "FIELD_VIOLATION",
        ["job.specs[0].image.width"],
    ),
    "negative width": (
        lambda: create_job(spec(width=-16)),
        "FIELD_VIOLATION",
        ["job.specs[0].image.width"],
    ),
    "too many steps for the model": (
        lambda: create_job(spec(num_inference_steps=51)),
        "FIELD_VIOLATION",
        ["job.specs[0].image.num_inference_steps"],
    ),
    "guidance that is no number": (
        lambda: create_job(spec(guidance_scale=float("nan"))),
        "FIELD_VIOLATION",
        # Outside the range, and not finite.
        ["job.specs[0].image.guidance_scale", "job.specs[0].image.guidance_scale"],
    ),
    "seed + count beyond 64 bits": (
        lambda: create_job(spec(2, seed=2**64 - 1)),
        "FIELD_VIOLATION",
        ["job.specs[0]"],
    ),
    "unknown model": (
        lambda: create_job(spec(model="models/nothing")),
        "FIELD_VIOLATION",
        ["job.specs[0].image.model"],
    ),
    "unknown output format": (
        lambda: create_job(spec(output_format=77)),
        "FIELD_VIOLATION",
        ["job.specs[0].image.output_format"],
    ),
    "the same client_ref twice": (
        lambda: create_job(spec(client_ref="a"), spec(client_ref="a")),
        "FIELD_VIOLATION",
        ["job"],
    ),
    "deadline in the past": (
        lambda: create_job(deadline_time=PAST),
        "FIELD_VIOLATION",
        ["job.deadline_time"],
    ),
    "deadline that is no time": (
        lambda: create_job(deadline_time=NO_TIME),
        "FIELD_VIOLATION",
        ["job.deadline_time"],
    ),
    "request_id that is no UUID": (
        lambda: create_job(request_id="twice"),
        "FIELD_VIOLATION",
        ["request_id"],
    ),
    "max_cost in another currency": (
        lambda: create_job(max_cost=money_pb2.Money(currency_code="EUR", nanos=10**12)),
        "FIELD_VIOLATION",
        ["job.max_cost.currency_code"],
    ),
    "max_cost of nothing": (
        lambda: create_job(max_cost=money_pb2.Money(currency_code="USD", nanos=0)),
        "FIELD_VIOLATION",
        ["job.max_cost"],
    ),
    "webhook that cannot be served": (
        lambda: create_job(webhook="tenants/-/webhookEndpoints/a"),
        "UNSUPPORTED_PARAMETER",
        ["job.webhook"],
    ),
}


@pytest.mark.parametrize("case", BAD_JOBS)
async def test_a_bad_job_is_refused_with_its_fields(
    gateway: ServedGateway, acme: Studio, case: str
) -> None:
    make, reason, fields = BAD_JOBS[case]

    refused = await refusal(acme.member.jobs.CreateJob(make()))

    assert (refused.code, refused.reason, refused.domain) == (
        "INVALID_ARGUMENT",
        reason,
        "atelier",
    )
    assert refused.fields == fields
    assert await nothing_is_written(gateway, acme)


async def test_a_thousand_bad_specs_give_an_error_that_arrives(acme: Studio) -> None:
    refused = await refusal(
        acme.member.jobs.CreateJob(create_job(*(spec(width=100) for _ in range(1000))))
    )

    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "FIELD_VIOLATION")
    assert refused.metadata["violation_count"] == "1000"
    assert refused.fields[0] == "job.specs[0].image.width"
    assert len(refused.fields) < 1000


async def test_more_than_the_balance_is_refused_with_what_is_there(
    gateway: ServedGateway,
) -> None:
    studio = await gateway.new_tenant(credit_nanos=2_500_000)

    refused = await refusal(studio.member.jobs.CreateJob(create_job(spec(3))))

    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "INSUFFICIENT_BALANCE")
    assert refused.metadata == {
        "needed_nanos": "3000000",
        "available_nanos": "2500000",
        "currency": "USD",
    }
    assert await nothing_is_written(gateway, studio)


async def test_more_than_max_cost_is_refused(gateway: ServedGateway, acme: Studio) -> None:
    refused = await refusal(acme.member.jobs.CreateJob(create_job(spec(2), max_cost=USD)))

    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "MAX_COST_EXCEEDED")
    assert refused.metadata == {"ceiling_nanos": "2000000", "currency": "USD"}
    assert await nothing_is_written(gateway, acme)


async def test_more_images_than_may_wait_are_refused(gateway: ServedGateway) -> None:
    studio = await gateway.new_tenant(quotas=tenant_service_pb2.TenantQuotas(queued_images_max=2))
    await studio.member.jobs.CreateJob(create_job(spec(2)))

    refused = await refusal(studio.member.jobs.CreateJob(create_job(spec(1))))

    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert refused.retry_seconds == 30.0
    assert refused.quota_subjects == [f"tenants/{studio.tenant_id}"]
    assert await gateway.rows(
        "SELECT debits_pending FROM accounts WHERE tenant_id = %(tenant)s AND kind = 'WALLET'",
        tenant=studio.tenant_id,
    ) == [(2_000_000,)]


async def test_a_model_that_the_tenant_may_not_use_is_refused(gateway: ServedGateway) -> None:
    studio = await gateway.new_tenant(
        quotas=tenant_service_pb2.TenantQuotas(allowed_models=["models/other-model"])
    )

    refused = await refusal(
        studio.member.jobs.CreateJob(create_job(spec(model="models/test-model")))
    )
    by_default = await studio.member.jobs.CreateJob(create_job(spec(width=64, height=64)))

    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "MODEL_NOT_ALLOWED")
    assert refused.metadata == {"model": "models/test-model"}
    assert by_default.image_count == 1


async def test_a_field_of_a_newer_contract_is_not_ignored(
    gateway: ServedGateway, acme: Studio
) -> None:
    # Field 99 of the request, a varint.
    raw = create_job().SerializeToString() + b"\x98\x06\x01"

    refused = await refusal(acme.member.send("/atelier.v1.JobService/CreateJob", raw))

    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "UNSUPPORTED_PARAMETER")
    assert await nothing_is_written(gateway, acme)


async def test_bytes_that_are_no_message_are_refused(acme: Studio) -> None:
    refused = await refusal(acme.member.send("/atelier.v1.JobService/GetJob", b"\xff\xff\xff"))

    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "FIELD_VIOLATION")


async def test_a_message_over_the_limit_is_refused_by_grpc_itself(acme: Studio) -> None:
    too_long = create_job(
        *(spec(prompt="x" * 10_000, negative_prompt="x" * 10_000) for _ in range(2000))
    )

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await acme.member.jobs.CreateJob(too_long)

    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


LISTS: dict[str, Callable[[Studio, str], Any]] = {
    "jobs": lambda studio, token: studio.member.jobs.ListJobs(
        job_service_pb2.ListJobsRequest(parent="tenants/-", page_token=token)
    ),
    "invoices": lambda studio, token: studio.admin.billing.ListInvoices(
        billing_service_pb2.ListInvoicesRequest(parent="tenants/-", page_token=token)
    ),
}


@pytest.mark.parametrize("name", LISTS)
async def test_a_page_token_that_is_not_ours_is_refused(acme: Studio, name: str) -> None:
    refused = await refusal(LISTS[name](acme, "bm90IG91cnM"))

    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_MISMATCH")
    assert refused.fields == ["page_token"]


async def test_a_page_token_is_bound_to_its_filter_and_tenant(acme: Studio, zeta: Studio) -> None:
    for _ in range(2):
        await acme.member.jobs.CreateJob(create_job())
    first = await acme.member.jobs.ListJobs(
        job_service_pb2.ListJobsRequest(parent="tenants/-", page_size=1)
    )
    token = first.next_page_token

    second = await acme.member.jobs.ListJobs(
        job_service_pb2.ListJobsRequest(
            parent=f"tenants/{acme.tenant_id}", page_size=5, page_token=token
        )
    )
    other_filter = await refusal(
        acme.member.jobs.ListJobs(
            job_service_pb2.ListJobsRequest(
                parent="tenants/-",
                page_token=token,
                filter=job_service_pb2.JobFilter(project="other"),
            )
        )
    )
    other_tenant = await refusal(
        zeta.member.jobs.ListJobs(
            job_service_pb2.ListJobsRequest(parent="tenants/-", page_token=token)
        )
    )

    assert len(second.jobs) == 1
    assert second.jobs[0].name != first.jobs[0].name
    assert second.next_page_token == ""
    assert other_filter.reason == other_tenant.reason == "PAGE_TOKEN_MISMATCH"


async def test_a_resume_token_of_another_job_is_refused(acme: Studio) -> None:
    first = await acme.member.jobs.CreateJob(create_job())
    second = await acme.member.jobs.CreateJob(create_job())
    watch = acme.member.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=first.name))
    token = (await read_one(watch)).resume_token
    watch.cancel()

    other = acme.member.jobs.WatchJob(
        job_service_pb2.WatchJobRequest(name=second.name, resume_token=token)
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await other.read()

    refused = read_refusal(raised.value)
    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_MISMATCH")
    assert refused.fields == ["resume_token"]


async def test_credit_beyond_what_a_wallet_holds_is_refused(
    gateway: ServedGateway, acme: Studio
) -> None:
    refused = await refusal(
        gateway.operator.billing.GrantCredit(
            billing_service_pb2.GrantCreditRequest(
                parent=f"tenants/{acme.tenant_id}",
                amount=money_pb2.Money(currency_code="USD", nanos=2**63 - 1),
                request_id=str(uuid4()),
            )
        )
    )

    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "FIELD_VIOLATION")
    assert refused.fields == ["amount.nanos"]


async def test_a_retry_of_a_job_that_has_not_ended_is_refused(acme: Studio) -> None:
    job = await acme.member.jobs.CreateJob(create_job())

    refused = await refusal(
        acme.member.jobs.RetryFailedImages(
            job_service_pb2.RetryFailedImagesRequest(name=job.name, request_id=str(uuid4()))
        )
    )

    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "INVALID_STATE_TRANSITION")
    assert refused.metadata == {"state": "QUEUED"}


async def test_a_job_is_cancelled_once_and_a_finished_one_not_at_all(
    gateway: ServedGateway, acme: Studio
) -> None:
    job = await acme.member.jobs.CreateJob(create_job(spec(3)))
    request = job_service_pb2.CancelJobRequest(name=job.name)

    cancelled = await acme.member.jobs.CancelJob(request)
    refused = await refusal(acme.member.jobs.CancelJob(request))

    assert cancelled.state == job_service_pb2.JOB_STATE_CANCELLED
    assert cancelled.cancelled_count == 3
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "INVALID_STATE_TRANSITION")
    assert await gateway.rows(
        "SELECT debits_pending FROM accounts WHERE tenant_id = %(tenant)s AND kind = 'WALLET'",
        tenant=acme.tenant_id,
    ) == [(0,)]
