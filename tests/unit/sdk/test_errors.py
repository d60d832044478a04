import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]

from atelier import errors
from atelier.errors import ErrorStatus, error_from_status
from atelier.statuses import read_status
from atelier.v1.errors_pb2 import ErrorReason


def test_every_reason_of_the_contract_has_a_class_of_its_own() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118

    assert set(errors.ERRORS_BY_REASON) == reasons - {"UNSPECIFIED"}
    assert len(set(errors.ERRORS_BY_REASON.values())) == len(errors.ERRORS_BY_REASON)


def test_every_code_that_a_proxy_may_answer_leads_into_the_tree() -> None:
    for code in grpc.StatusCode:
        error = error_from_status(ErrorStatus(code=code.name, reason="", message="no"))

        assert isinstance(error, errors.AtelierError)


def test_a_reason_says_more_than_its_code() -> None:
    status = ErrorStatus(
        code="FAILED_PRECONDITION", reason="INSUFFICIENT_BALANCE", message="2.50 USD needed"
    )

    error = error_from_status(status)

    assert type(error) is errors.InsufficientBalanceError
    assert isinstance(error, errors.PreconditionError)
    assert str(error) == "INSUFFICIENT_BALANCE: 2.50 USD needed"


def test_a_reason_of_a_newer_server_falls_back_on_its_code() -> None:
    error = error_from_status(ErrorStatus(code="NOT_FOUND", reason="NEWER", message="no"))

    assert type(error) is errors.NotFoundError


def test_a_rich_status_is_taken_apart() -> None:
    details: list[Any] = []
    for message in (
        error_details_pb2.ErrorInfo(reason="QUEUE_FULL", metadata={"limit": "10"}),
        error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
        error_details_pb2.QuotaFailure(
            violations=[
                error_details_pb2.QuotaFailure.Violation(subject="tenants/a", description="full")
            ]
        ),
    ):
        details.append(Any())
        details[-1].Pack(message)
    rich = status_pb2.Status(details=details)

    status = read_status(
        code="RESOURCE_EXHAUSTED", message="full", details=rich.SerializeToString()
    )

    assert status.reason == "QUEUE_FULL"
    assert status.metadata == {"limit": "10"}
    assert status.retry_delay_seconds == 1.5
    assert [(found.subject, found.description) for found in status.violations] == [
        ("tenants/a", "full")
    ]


def test_details_that_cannot_be_read_do_not_hide_the_error() -> None:
    status = read_status(code="UNAVAILABLE", message="gone", details=b"\xff\xff")

    assert (status.code, status.reason, status.message) == ("UNAVAILABLE", "", "gone")
