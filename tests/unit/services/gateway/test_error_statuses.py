from datetime import timedelta

import grpc
import psycopg
import pytest
from google.rpc import error_details_pb2  # pyright: ignore[reportMissingTypeStubs]

from atelier.v1.errors_pb2 import ErrorReason
from metering.errors import InsufficientBalanceError
from services.gateway import errors
from services.gateway.error_statuses import refusal_of, to_status
from services.gateway.errors import CallRefusedError, FieldViolation, invalid_fields

MADE = [
    errors.invalid_field("a.b", "is wrong"),
    errors.unsupported_parameter("a", "is not supported"),
    errors.request_id_reused("7c9e"),
    errors.page_token_mismatch("page_token"),
    errors.not_found("tenants/acme"),
    errors.already_exists("tenants/acme"),
    errors.not_implemented("ExportUsage"),
    errors.key_invalid(),
    errors.key_expired("k"),
    errors.key_revoked("k"),
    errors.role_required("CreateTenant", "OPERATOR"),
    errors.tenant_suspended(),
    errors.model_not_allowed("models/large"),
    errors.insufficient_balance(needed_nanos=1, currency="USD"),
    errors.max_cost_exceeded(ceiling_nanos=1, currency="USD"),
    errors.invalid_state("the job is QUEUED", state="QUEUED"),
    errors.rate_limited(subject="gateway"),
    errors.queue_full(subject="tenants/acme", queued_images_max=1),
    errors.draining(),
    errors.database_down(),
    errors.backend_down("the recorder"),
    errors.deadline_exceeded(30),
    errors.server_defect("abc"),
    errors.invoicing_stopped(),
]


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.refusal.message)
def test_every_refusal_carries_an_error_info_of_our_domain(made: CallRefusedError) -> None:
    status = to_status(made.refusal)

    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "atelier"
    assert f"ERROR_REASON_{info.reason}" in [value.name for value in ErrorReason.DESCRIPTOR.values]
    assert status.code == made.refusal.code.value[0]


def test_what_is_worth_trying_again_says_when() -> None:
    hinted = {ErrorReason.Name(made.refusal.reason) for made in MADE if made.refusal.retry_delay}

    assert hinted == {
        "ERROR_REASON_RATE_LIMITED",
        "ERROR_REASON_QUEUE_FULL",
        "ERROR_REASON_DRAINING",
        "ERROR_REASON_DATABASE_DOWN",
        "ERROR_REASON_BACKEND_DOWN",
    }


def test_a_thousand_violations_stay_below_what_trailers_may_hold() -> None:
    refused = invalid_fields(
        [
            FieldViolation(field=f"job.specs[{index}].image.width", description="x" * 150)
            for index in range(1000)
        ]
    )

    status = to_status(refused.refusal)

    assert len(status.SerializeToString()) < 6_000
    assert refused.refusal.metadata["violation_count"] == "1000"


def test_errors_of_other_packages_are_worded_here() -> None:
    poor = refusal_of(InsufficientBalanceError(needed_nanos=5, currency="USD"))
    away = refusal_of(psycopg.OperationalError("the server closed the connection"))

    assert poor is not None
    assert poor.code is grpc.StatusCode.FAILED_PRECONDITION
    assert away is not None
    assert (away.code, away.retry_delay) == (grpc.StatusCode.UNAVAILABLE, timedelta(seconds=1))
    assert "server closed" not in away.message
    assert refusal_of(KeyError("a mistake of ours")) is None
