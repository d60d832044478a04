import pytest

from atelier.v1 import image_pb2, job_service_pb2
from services.gateway.errors import CallRefusedError
from services.gateway.request_parsing import parse_request
from services.gateway.request_validation import load_request_rules

RULES = load_request_rules()
REQUEST = job_service_pb2.CreateJobRequest


def request(prompt: str = "a mug", **labels: str) -> job_service_pb2.CreateJobRequest:
    return REQUEST(
        parent="tenants/-",
        job=job_service_pb2.Job(
            specs=[
                job_service_pb2.JobSpec(image=image_pb2.ImageSpec(prompt="fine", seed=0)),
                job_service_pb2.JobSpec(image=image_pb2.ImageSpec(prompt=prompt, labels=labels)),
            ]
        ),
        request_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
    )


def fields_at_fault(raw: bytes) -> list[str]:
    with pytest.raises(CallRefusedError) as refused:
        parse_request(raw, deserializer=REQUEST.FromString, rules=RULES)
    return [violation.field for violation in refused.value.refusal.field_violations]


def test_a_good_request_comes_through_unchanged() -> None:
    raw = request().SerializeToString()

    assert parse_request(raw, deserializer=REQUEST.FromString, rules=RULES) == request()


def test_zero_characters_are_found_wherever_they_are() -> None:
    assert fields_at_fault(request(prompt="a\0").SerializeToString()) == [
        "job.specs[1].image.prompt"
    ]
    assert fields_at_fault(request(sku="a\0").SerializeToString()) == ["job.specs[1].image.labels"]


def test_a_field_of_a_newer_contract_is_refused_also_deep_inside() -> None:
    image = image_pb2.ImageSpec(prompt="a mug").SerializeToString() + b"\xf8\x06\x01"
    spec = b"\x0a" + bytes([len(image)]) + image
    job = b"\x1a" + bytes([len(spec)]) + spec
    raw = request().SerializeToString() + b"\x12" + bytes([len(job)]) + job

    assert fields_at_fault(raw) == ["request"]


def test_text_that_is_no_utf_8_is_no_message() -> None:
    assert fields_at_fault(b"\x0a\x02\xff\xfe") == ["request"]
