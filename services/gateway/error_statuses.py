"""The one place where errors become what travels: google.rpc.Status with details."""

from collections.abc import Sequence
from typing import Final

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]

from atelier.v1.errors_pb2 import ErrorReason
from database.pool import UNREACHABLE_ERRORS
from metering.errors import (
    AmountOverflowError,
    BudgetExceededError,
    CurrencyMixError,
    InsufficientBalanceError,
    InvariantsViolatedError,
    InvoiceAmountError,
    InvoiceNotDueError,
    InvoiceNotFoundError,
    InvoiceOutOfOrderError,
    InvoiceStateError,
    LedgerMismatchError,
)
from metering.money import decimal_text
from services.gateway import errors, resource_names
from services.gateway.errors import CallRefusedError, FieldViolation, Refusal
from services.jobs.errors import InvalidTransitionError, RequestIdReusedError

# The brand, as Google's error model asks for it: reasons are unique within a domain.
ERROR_DOMAIN: Final = "atelier"
# Details travel in HTTP/2 trailers, and grpc clients refuse metadata above 8 KiB in all: a job of
# 1,000 bad specs must not make its own error undeliverable.
_DETAILS_BYTES_MAX: Final = 4096
_VIOLATION_TEXT_LENGTH_MAX: Final = 200


def refusal_of(error: BaseException) -> Refusal | None:
    """Word an error of any package for a stranger; None when it is none a caller can act on."""
    refused = _refused(error)
    return refused.refusal if refused else None


def _refused(error: BaseException) -> CallRefusedError | None:
    if isinstance(error, CallRefusedError):
        return error
    if isinstance(error, UNREACHABLE_ERRORS):
        return errors.database_down()
    return _money_refused(error) or _invoice_refused(error) or _job_refused(error)


def _money_refused(error: BaseException) -> CallRefusedError | None:
    match error:
        case InsufficientBalanceError():
            return errors.insufficient_balance(
                needed_nanos=error.needed_nanos, currency=error.currency
            )
        case BudgetExceededError():
            return errors.budget_exceeded(
                resource_names.BUDGET.write(error.tenant_id, error.budget_id)
            )
        case LedgerMismatchError() | CurrencyMixError() | InvariantsViolatedError():
            return errors.invoicing_stopped()
        case AmountOverflowError():
            return errors.invalid_field("request", "comes to more money than a wallet can hold")
        case _:
            return None


def _invoice_refused(error: BaseException) -> CallRefusedError | None:
    match error:
        case InvoiceNotFoundError():
            return errors.not_found(f"invoice {error}")
        case InvoiceStateError():
            return errors.invalid_state(f"the invoice is {error.state}", state=error.state)
        case InvoiceNotDueError():
            return errors.invalid_state(
                "the period or its grace for late facts is not over",
                due_time=error.due_time.isoformat(),
            )
        case InvoiceOutOfOrderError():
            return errors.invalid_state(
                f"invoices follow one another: see {error.other_id}", invoice=error.other_id
            )
        case InvoiceAmountError():
            amount = f"{decimal_text(error.due_nanos)} {error.currency}"
            return errors.invalid_field("amount", f"the invoice has {amount} left")
        case _:
            return None


def _job_refused(error: BaseException) -> CallRefusedError | None:
    match error:
        case RequestIdReusedError():
            return errors.request_id_reused(str(error))
        case InvalidTransitionError():
            return errors.invalid_state(str(error))
        case _:
            return None


def to_status(refusal: Refusal) -> status_pb2.Status:
    """Build the status: ErrorInfo always, the other details where the refusal has them."""
    details: list[Message] = [_error_info(refusal)]
    if refusal.quota_violations:
        details.append(_quota_failure(refusal))
    if refusal.precondition_violations:
        details.append(_precondition_failure(refusal))
    if refusal.retry_delay is not None:
        delay = duration_pb2.Duration()
        delay.FromTimedelta(refusal.retry_delay)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if refusal.field_violations:
        details.append(_bad_request(refusal.field_violations))
    return status_pb2.Status(
        code=refusal.code.value[0],
        message=refusal.message[:_VIOLATION_TEXT_LENGTH_MAX],
        details=[_packed(detail) for detail in details],
    )


def reason_name(reason: ErrorReason.ValueType) -> str:
    """Name a reason as it travels: the enum value without its prefix."""
    return ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


def _error_info(refusal: Refusal) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(
        reason=reason_name(refusal.reason), domain=ERROR_DOMAIN, metadata=refusal.metadata
    )


def _quota_failure(refusal: Refusal) -> error_details_pb2.QuotaFailure:
    return error_details_pb2.QuotaFailure(
        violations=[
            error_details_pb2.QuotaFailure.Violation(
                subject=violation.subject, description=violation.description
            )
            for violation in refusal.quota_violations
        ]
    )


def _precondition_failure(refusal: Refusal) -> error_details_pb2.PreconditionFailure:
    return error_details_pb2.PreconditionFailure(
        violations=[
            error_details_pb2.PreconditionFailure.Violation(
                type=violation.kind,
                subject=violation.subject,
                description=violation.description[:_VIOLATION_TEXT_LENGTH_MAX],
            )
            for violation in refusal.precondition_violations
        ]
    )


def _bad_request(violations: Sequence[FieldViolation]) -> error_details_pb2.BadRequest:
    """As many violations as fit; ErrorInfo's violation_count tells how many there are."""
    bad_request = error_details_pb2.BadRequest()
    for violation in violations:
        bad_request.field_violations.add(
            field=violation.field[:_VIOLATION_TEXT_LENGTH_MAX],
            description=violation.description[:_VIOLATION_TEXT_LENGTH_MAX],
            reason=violation.reason,
        )
        if bad_request.ByteSize() > _DETAILS_BYTES_MAX:
            del bad_request.field_violations[-1]
            break
    return bad_request


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
