"""From what gRPC raises to this library's errors."""

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]

from atelier.errors import CallError, ErrorStatus, Violation, error_from_status

_DETAILS_KEY = "grpc-status-details-bin"


def error_from_rpc(error: grpc.aio.AioRpcError) -> CallError:
    """Read the rich status of a failed call, where it has one."""
    return error_from_status(
        read_status(
            code=error.code().name,
            message=error.details() or "",
            details=_details(error),
        )
    )


def read_status(*, code: str, message: str, details: bytes) -> ErrorStatus:
    """Take a google.rpc.Status apart; details that cannot be read are left out."""
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    quota_failure = error_details_pb2.QuotaFailure()
    precondition_failure = error_details_pb2.PreconditionFailure()
    retry_info = error_details_pb2.RetryInfo()
    for detail in _rich_status(details).details:
        for message_type in (info, bad_request, quota_failure, precondition_failure, retry_info):
            detail.Unpack(message_type)
    retry_delay = retry_info.retry_delay.ToTimedelta().total_seconds()
    return ErrorStatus(
        code=code,
        reason=info.reason,
        message=message,
        metadata=dict(info.metadata),
        violations=(
            *(
                Violation(subject=found.field, description=found.description, rule=found.reason)
                for found in bad_request.field_violations
            ),
            *(
                Violation(subject=found.subject, description=found.description)
                for found in quota_failure.violations
            ),
            *(
                Violation(subject=found.subject, description=found.description, rule=found.type)
                for found in precondition_failure.violations
            ),
        ),
        retry_delay_seconds=retry_delay if retry_info.HasField("retry_delay") else None,
    )


def _details(error: grpc.aio.AioRpcError) -> bytes:
    for key, value in error.trailing_metadata():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return value
    return b""


def _rich_status(details: bytes) -> status_pb2.Status:
    try:
        return status_pb2.Status.FromString(details)
    except DecodeError:
        return status_pb2.Status()
