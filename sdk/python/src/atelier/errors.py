"""What can go wrong, as one tree: `AtelierError` above all, one class for each `ErrorReason`.

Catch as narrowly as you can act: `InsufficientBalanceError` to top up, `ExhaustedError` to wait,
`CallError` for whatever a server refused. Classes for whole status codes stand between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class AtelierError(Exception):
    """Everything this library raises by itself."""


class ConfigurationError(AtelierError):
    """Address or key are missing, or cannot be used together."""


class DownloadCorruptError(AtelierError):
    """The bytes that came are not those the server announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A field of the request, or a quota, that a call would break."""

    # Path in the request, such as `job.specs[3].image.width`, or whose quota it is.
    subject: str
    description: str
    # The rule's name, such as `string.max_len`; empty for quotas.
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStatus:
    """What a server said when it refused."""

    # Name of the gRPC status code, such as `NOT_FOUND`.
    code: str
    # Name of the `ErrorReason` without its prefix; empty when the answer was not the gateway's own.
    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    violations: Sequence[Violation] = ()
    # The server's own word on when to try again; None when it gave none.
    retry_delay_seconds: float | None = None


class CallError(AtelierError):
    """A server refused a call, or could not be reached."""

    def __init__(self, status: ErrorStatus) -> None:
        super().__init__(status.message)
        self.status = status

    @property
    def reason(self) -> str:
        return self.status.reason

    @property
    def violations(self) -> Sequence[Violation]:
        return self.status.violations

    def __str__(self) -> str:
        label = self.status.reason or self.status.code
        return f"{label}: {self.status.message}"


# ------------------------------------------------------------------------------ INVALID_ARGUMENT


class InvalidRequestError(CallError):
    """The request itself is wrong; sending it again will not help."""


class FieldViolationError(InvalidRequestError):
    """Fields break a rule; `violations` names each."""


class RequestIdReusedError(InvalidRequestError):
    """The request id was used for another request."""


class PageTokenMismatchError(InvalidRequestError):
    """The page or resume token belongs to another query."""


class UnsupportedParameterError(InvalidRequestError):
    """The installation does not support something that was asked for."""


# ------------------------------------------------------------------------------ who is calling


class NotAuthenticatedError(CallError):
    """The key does not open."""


class KeyInvalidError(NotAuthenticatedError):
    """There is no such key."""


class KeyExpiredError(NotAuthenticatedError):
    """The key's time is over."""


class KeyRevokedError(NotAuthenticatedError):
    """The key was revoked."""


class NotAllowedError(CallError):
    """The key opens, and not this."""


class RoleRequiredError(NotAllowedError):
    """The call needs another role."""


class ModelNotAllowedError(NotAllowedError):
    """The tenant may not use the model."""


class AddressNotAllowedError(NotAllowedError):
    """The key may not be used from here."""


class TenantSuspendedError(NotAllowedError):
    """The tenant may read and not order."""


# ------------------------------------------------------------------------------ what is there


class NotFoundError(CallError):
    """There is no such thing, or it is another tenant's."""


class ResourceNotFoundError(NotFoundError):
    """There is no resource of that name, or it is another tenant's."""


class ResourceExistsError(CallError):
    """A resource of that name exists already."""


class PreconditionError(CallError):
    """Something must change before the same call can succeed."""


class InsufficientBalanceError(PreconditionError):
    """The wallet does not cover the ceiling."""


class MaxCostExceededError(PreconditionError):
    """The ceiling is above the request's own bound."""


class InvalidStateTransitionError(PreconditionError):
    """The resource is not in a state that allows this."""


class PublishingPausedError(PreconditionError):
    """Publishing is paused by a quality alarm."""


class InvoicingStoppedError(PreconditionError):
    """The ledger must be looked at before anything is invoiced."""


# ------------------------------------------------------------------------------ not now


class ExhaustedError(CallError):
    """A limit is reached."""


class RateLimitedError(ExhaustedError):
    """Too many calls in a short time."""


class QueueFullError(ExhaustedError):
    """As many images are queued as the quota allows."""


class BudgetExceededError(ExhaustedError):
    """A hard budget does not cover the ceiling."""


class UnavailableError(CallError):
    """Nobody answers, or not now."""


class DrainingError(UnavailableError):
    """The server is being stopped."""


class DatabaseDownError(UnavailableError):
    """The server's database does not answer."""


class BackendDownError(UnavailableError):
    """A part of the installation does not answer."""


class DeadlineExceededError(CallError):
    """No answer in time; what was asked for may have happened."""


class CallNotImplementedError(CallError):
    """The server does not have this call yet."""


class ServerDefectError(CallError):
    """The server failed in a way it should not."""


ERRORS_BY_REASON: Mapping[str, type[CallError]] = {
    "FIELD_VIOLATION": FieldViolationError,
    "REQUEST_ID_REUSED": RequestIdReusedError,
    "PAGE_TOKEN_MISMATCH": PageTokenMismatchError,
    "UNSUPPORTED_PARAMETER": UnsupportedParameterError,
    "KEY_INVALID": KeyInvalidError,
    "KEY_EXPIRED": KeyExpiredError,
    "KEY_REVOKED": KeyRevokedError,
    "ROLE_REQUIRED": RoleRequiredError,
    "MODEL_NOT_ALLOWED": ModelNotAllowedError,
    "TENANT_SUSPENDED": TenantSuspendedError,
    "ADDRESS_NOT_ALLOWED": AddressNotAllowedError,
    "RESOURCE_NOT_FOUND": ResourceNotFoundError,
    "RESOURCE_EXISTS": ResourceExistsError,
    "INSUFFICIENT_BALANCE": InsufficientBalanceError,
    "MAX_COST_EXCEEDED": MaxCostExceededError,
    "INVALID_STATE_TRANSITION": InvalidStateTransitionError,
    "PUBLISHING_PAUSED": PublishingPausedError,
    "RATE_LIMITED": RateLimitedError,
    "QUEUE_FULL": QueueFullError,
    "BUDGET_EXCEEDED": BudgetExceededError,
    "DRAINING": DrainingError,
    "DATABASE_DOWN": DatabaseDownError,
    "BACKEND_DOWN": BackendDownError,
    "NOT_IMPLEMENTED": CallNotImplementedError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "SERVER_DEFECT": ServerDefectError,
    "INVOICING_STOPPED": InvoicingStoppedError,
}

# For answers without a reason: a proxy's, gRPC's own, or those of a newer server.
ERRORS_BY_CODE: Mapping[str, type[CallError]] = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "UNAUTHENTICATED": NotAuthenticatedError,
    "PERMISSION_DENIED": NotAllowedError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": ResourceExistsError,
    "FAILED_PRECONDITION": PreconditionError,
    "RESOURCE_EXHAUSTED": ExhaustedError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "UNIMPLEMENTED": CallNotImplementedError,
}


def error_from_status(status: ErrorStatus) -> CallError:
    """Choose the class that says most about a refusal."""
    by_code = ERRORS_BY_CODE.get(status.code, CallError)
    return ERRORS_BY_REASON.get(status.reason, by_code)(status)
