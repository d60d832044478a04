"""Everything the gateway refuses, worded for strangers: one constructor per reason.

A refusal is an exception; ``error_statuses`` turns it into the ``google.rpc.Status`` on the wire.
No message and no metadata repeats what a caller sent, except resource names and field paths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import grpc

from atelier.v1.errors_pb2 import ErrorReason
from metering.money import decimal_text

_RETRY_SOON: Final = timedelta(seconds=1)
_RETRY_AFTER_DRAIN: Final = timedelta(seconds=2)
_RETRY_WHEN_QUEUE_SHRANK: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One field of a request that breaks a rule; ``field`` is the path from the request's root."""

    field: str
    description: str
    # Stable name of the rule, such as "string.max_len"; empty when it has none.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaViolation:
    """One limit that a call would exceed; ``subject`` says whose."""

    subject: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreconditionViolation:
    """One thing that has to be done before; ``kind`` is a stable name, ``subject`` says whose."""

    kind: str
    subject: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a caller is told."""

    code: grpc.StatusCode
    reason: ErrorReason.ValueType
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    field_violations: Sequence[FieldViolation] = ()
    quota_violations: Sequence[QuotaViolation] = ()
    precondition_violations: Sequence[PreconditionViolation] = ()
    retry_delay: timedelta | None = None


class CallRefusedError(Exception):
    """A call is answered with a refusal instead of its result."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class AddressTakenError(Exception):
    """The gateway cannot listen where it was told to."""


class OperatorKeyExistsError(Exception):
    """The installation has an operator's key already."""


# ------------------------------------------------------------------------------ what was asked


def invalid_fields(violations: Sequence[FieldViolation]) -> CallRefusedError:
    """Some fields break a rule."""
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason=ErrorReason.ERROR_REASON_FIELD_VIOLATION,
            message=f"{first.field}: {first.description}{more}",
            metadata={"violation_count": str(len(violations))},
            field_violations=violations,
        )
    )


def invalid_field(name: str, description: str, *, reason: str = "") -> CallRefusedError:
    """One field breaks a rule."""
    return invalid_fields([FieldViolation(field=name, description=description, reason=reason)])


def unsupported_parameter(name: str, description: str) -> CallRefusedError:
    """A field or value that this server does not know or serve; never ignored in silence."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason=ErrorReason.ERROR_REASON_UNSUPPORTED_PARAMETER,
            message=f"{name}: {description}",
            metadata={"field": name},
            field_violations=[FieldViolation(field=name, description=description)],
        )
    )


def request_id_reused(request_id: str) -> CallRefusedError:
    """The same request_id came before with another request."""
    description = "was used before for another request; a new wish needs a new one"
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason=ErrorReason.ERROR_REASON_REQUEST_ID_REUSED,
            message=f"request_id {description}",
            metadata={"request_id": request_id},
            field_violations=[FieldViolation(field="request_id", description=description)],
        )
    )


def page_token_mismatch(name: str) -> CallRefusedError:
    """A page or resume token that is not ours or answers another question."""
    description = "is not a token of this query; begin again without it"
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason=ErrorReason.ERROR_REASON_PAGE_TOKEN_MISMATCH,
            message=f"{name} {description}",
            field_violations=[FieldViolation(field=name, description=description)],
        )
    )


def not_found(name: str) -> CallRefusedError:
    """A resource that is not there, or is another tenant's: the two look alike on purpose."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.NOT_FOUND,
            reason=ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
            message=f"there is no {name}",
            metadata={"name": name},
        )
    )


def already_exists(name: str) -> CallRefusedError:
    """A resource of that name is there already."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.ALREADY_EXISTS,
            reason=ErrorReason.ERROR_REASON_RESOURCE_EXISTS,
            message=f"{name} exists already",
            metadata={"name": name},
        )
    )


def not_implemented(call: str) -> CallRefusedError:
    """A call of the contract that is not built yet."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.UNIMPLEMENTED,
            reason=ErrorReason.ERROR_REASON_NOT_IMPLEMENTED,
            message=f"{call} is not available yet",
            metadata={"call": call},
        )
    )


# ------------------------------------------------------------------------------ who asked


def key_invalid() -> CallRefusedError:
    """No key, noise, an unknown key or a wrong secret: which of them is not told."""
    return _unauthenticated(
        ErrorReason.ERROR_REASON_KEY_INVALID,
        "an API key is needed in the metadata: authorization: Bearer atl_live_…",
    )


def certificate_unclear() -> CallRefusedError:
    """The client authority signed a name that is not ours to guess; no secret is told."""
    return _unauthenticated(
        ErrorReason.ERROR_REASON_KEY_INVALID,
        "the client certificate must name one tenant and role, as the URI "
        "atelier://tenants/{tenant}/roles/member or …/roles/admin",
    )


def key_expired(key_id: str) -> CallRefusedError:
    """The key's time is over; told only to who holds its secret."""
    return _unauthenticated(
        ErrorReason.ERROR_REASON_KEY_EXPIRED, "the API key has expired", key_id=key_id
    )


def key_revoked(key_id: str) -> CallRefusedError:
    """The key was revoked; told only to who holds its secret."""
    return _unauthenticated(
        ErrorReason.ERROR_REASON_KEY_REVOKED, "the API key was revoked", key_id=key_id
    )


def role_required(call: str, role: str) -> CallRefusedError:
    """The key's role does not carry this call."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.PERMISSION_DENIED,
            reason=ErrorReason.ERROR_REASON_ROLE_REQUIRED,
            message=f"{call} needs the role {role}",
            metadata={"role": role},
        )
    )


def address_not_allowed(address: str) -> CallRefusedError:
    """The key may not be used from there; told only to who holds its secret."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.PERMISSION_DENIED,
            reason=ErrorReason.ERROR_REASON_ADDRESS_NOT_ALLOWED,
            message="the API key may not be used from this address",
            metadata={"address": address},
        )
    )


def tenant_suspended() -> CallRefusedError:
    """The tenant may read and not order."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.PERMISSION_DENIED,
            reason=ErrorReason.ERROR_REASON_TENANT_SUSPENDED,
            message="the tenant is suspended; the operator can tell why",
        )
    )


def model_not_allowed(model: str) -> CallRefusedError:
    """The tenant may not use that model."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.PERMISSION_DENIED,
            reason=ErrorReason.ERROR_REASON_MODEL_NOT_ALLOWED,
            message=f"{model} is not allowed for this tenant",
            metadata={"model": model},
        )
    )


# ------------------------------------------------------------------------------ what is so now


def insufficient_balance(
    *, needed_nanos: int, currency: str, available_nanos: int | None = None
) -> CallRefusedError:
    """The wallet does not cover the ceiling of what was asked for."""
    available = {} if available_nanos is None else {"available_nanos": str(available_nanos)}
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason=ErrorReason.ERROR_REASON_INSUFFICIENT_BALANCE,
            message=f"{decimal_text(needed_nanos)} {currency} needed, the balance is less",
            metadata={"needed_nanos": str(needed_nanos), "currency": currency} | available,
        )
    )


def budget_exceeded(budget: str) -> CallRefusedError:
    """A hard budget does not cover the ceiling; trying again soon does not help."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.RESOURCE_EXHAUSTED,
            reason=ErrorReason.ERROR_REASON_BUDGET_EXCEEDED,
            message=f"{budget} does not cover it",
            metadata={"budget": budget},
            quota_violations=[
                QuotaViolation(
                    subject=budget, description="the rest of its period does not cover it"
                )
            ],
        )
    )


def max_cost_exceeded(*, ceiling_nanos: int, currency: str) -> CallRefusedError:
    """The ceiling is above what the request itself allows."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason=ErrorReason.ERROR_REASON_MAX_COST_EXCEEDED,
            message=f"it may cost up to {decimal_text(ceiling_nanos)} {currency}: above max_cost",
            metadata={"ceiling_nanos": str(ceiling_nanos), "currency": currency},
        )
    )


def invalid_state(message: str, **metadata: str) -> CallRefusedError:
    """What is asked does not fit the resource's state."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason=ErrorReason.ERROR_REASON_INVALID_STATE_TRANSITION,
            message=message,
            metadata=metadata,
        )
    )


def not_settled(state: str, violations: Sequence[PreconditionViolation]) -> CallRefusedError:
    """A tenant that cannot be deleted yet; all that stands in the way is named."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason=ErrorReason.ERROR_REASON_INVALID_STATE_TRANSITION,
            message="; ".join(violation.description for violation in violations),
            metadata={"state": state, "violations": ",".join(each.kind for each in violations)},
            precondition_violations=violations,
        )
    )


def price_missing() -> CallRefusedError:
    """The operator has set no price for this tenant yet, so nothing can be promised."""
    return invalid_state(
        "no price is in effect for this tenant; the operator has to set one", state="NO_PRICE"
    )


def invoicing_stopped() -> CallRefusedError:
    """Usage and captures differ: no figure is given until a person has looked."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason=ErrorReason.ERROR_REASON_INVOICING_STOPPED,
            message="invoicing is stopped until the operator has looked at the ledger",
        )
    )


def rate_limited(
    *,
    subject: str,
    description: str = "too many calls in flight",
    retry_delay: timedelta = _RETRY_SOON,
) -> CallRefusedError:
    """Too many calls, in flight or in a short time."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.RESOURCE_EXHAUSTED,
            reason=ErrorReason.ERROR_REASON_RATE_LIMITED,
            message=f"{description}; retry in {retry_delay.total_seconds():.3g} s",
            quota_violations=[QuotaViolation(subject=subject, description=description)],
            retry_delay=retry_delay,
        )
    )


def queue_full(*, subject: str, queued_images_max: int) -> CallRefusedError:
    """The tenant has as many images queued as it may."""
    description = f"at most {queued_images_max} images may be queued"
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.RESOURCE_EXHAUSTED,
            reason=ErrorReason.ERROR_REASON_QUEUE_FULL,
            message=description,
            quota_violations=[QuotaViolation(subject=subject, description=description)],
            retry_delay=_RETRY_WHEN_QUEUE_SHRANK,
        )
    )


# ------------------------------------------------------------------------------ how we are


def draining() -> CallRefusedError:
    """This replica is stopping; another one, or the next start, goes on."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.UNAVAILABLE,
            reason=ErrorReason.ERROR_REASON_DRAINING,
            message="this gateway is stopping; call again, streams with their resume_token",
            retry_delay=_RETRY_AFTER_DRAIN,
        )
    )


def database_down() -> CallRefusedError:
    """PostgreSQL does not answer; nothing was changed unless the same request_id says so later."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.UNAVAILABLE,
            reason=ErrorReason.ERROR_REASON_DATABASE_DOWN,
            message="the database cannot be reached; retry with the same request_id",
            retry_delay=_RETRY_SOON,
        )
    )


def backend_down(what: str) -> CallRefusedError:
    """A part of the installation that the call needs does not answer."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.UNAVAILABLE,
            reason=ErrorReason.ERROR_REASON_BACKEND_DOWN,
            message=f"{what} is not reachable",
            retry_delay=_RETRY_SOON,
        )
    )


def deadline_exceeded(seconds: float) -> CallRefusedError:
    """A call that brought no deadline got ours, and it passed."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
            reason=ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
            message=f"not answered within {seconds:g} s; retry with the same request_id",
        )
    )


def server_defect(incident: str) -> CallRefusedError:
    """Our own mistake; the incident's number finds it in the log."""
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.INTERNAL,
            reason=ErrorReason.ERROR_REASON_SERVER_DEFECT,
            message=f"a defect of the server; its log names it {incident}",
            metadata={"incident": incident},
        )
    )


def _unauthenticated(
    reason: ErrorReason.ValueType, message: str, **metadata: str
) -> CallRefusedError:
    return CallRefusedError(
        Refusal(
            code=grpc.StatusCode.UNAUTHENTICATED,
            reason=reason,
            message=message,
            metadata=metadata,
        )
    )
