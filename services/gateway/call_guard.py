"""What every call passes before its service sees it, and how every answer leaves.

In this order: a place among the calls in flight, the key, the address, the role, the tenant's pace
and a place among its calls, the request itself. Then one log line for each call, without prompts
and without keys.
"""

import asyncio
import secrets
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from google.protobuf.message import Message

from database.pool import COMPANION
from services.gateway import errors
from services.gateway.admission import AdmissionGate
from services.gateway.audit_trail import AuditedCall, AuditTrail, changes_something
from services.gateway.authentication import Authenticator
from services.gateway.call_tally import CallTally
from services.gateway.callers import CURRENT_CALLER, Caller
from services.gateway.client_certificates import read_identity
from services.gateway.draining import Drain
from services.gateway.error_statuses import reason_name, refusal_of, to_status
from services.gateway.errors import Refusal
from services.gateway.method_rights import PACKAGE, RIGHTS
from services.gateway.peer_addresses import PeerAddresses
from services.gateway.rate_limits import RateLimits
from services.gateway.request_parsing import Rules, parse_request
from services.gateway.stranger_hold import StrangerHold

_DETAILS_KEY: Final = "grpc-status-details-bin"
# A stream whose key is revoked ends this soon after the key cache knows.
_STREAM_CHECK_SECONDS: Final = 0.4
_INCIDENT_BYTES: Final = 6
_TENANTS_COUNTED_MAX: Final = 10_000

_log = structlog.get_logger()


class CallGuard(grpc.aio.ServerInterceptor):
    """Stands before every method of our package; health and reflection are open to everybody."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        rules: Rules,
        calls: AdmissionGate,
        streams: AdmissionGate,
        drain: Drain,
        audit: AuditTrail,
        peers: PeerAddresses,
        unary_deadline_seconds: float,
        calls_per_minute_per_tenant_max: int,
        stranger_hold_seconds: float = 0.0,
        certificates_name_tenants: bool = False,
        not_implemented: frozenset[str] = frozenset(),
    ) -> None:
        self._authenticator = authenticator
        self._rules = rules
        self.calls = calls
        self.streams = streams
        self.tally = CallTally()
        self._drain = drain
        self._audit = audit
        self._peers = peers
        self._unary_deadline_seconds = unary_deadline_seconds
        self._not_implemented = not_implemented
        self._certificates_name_tenants = certificates_name_tenants
        self._calls_per_minute_max = calls_per_minute_per_tenant_max
        self._rates = RateLimits(names_max=_TENANTS_COUNTED_MAX)
        self._strangers = StrangerHold(seconds=stranger_hold_seconds)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], "Awaitable[grpc.RpcMethodHandler[Any, Any] | None]"
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Put the guard around a method's handler."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if not method.startswith(f"/{PACKAGE}.") or handler is None:
            return handler
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._guard_stream(method, handler),
                response_serializer=handler.response_serializer,
            )
        assert handler.unary_unary is not None, "the contract has no client streams"
        return grpc.unary_unary_rpc_method_handler(
            self._guard_unary(method, handler), response_serializer=handler.response_serializer
        )

    def _guard_unary(self, method: str, handler: Any) -> Any:  # noqa: ANN401 - grpc's own types
        async def serve(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            async with (
                self._guarded(method, self.calls, context) as call,
                self._deadline(context),
            ):
                request = self._request(call, raw, handler)
                return await handler.unary_unary(request, context)
            raise AssertionError("a guarded call returns or aborts")

        return serve

    def _guard_stream(self, method: str, handler: Any) -> Any:  # noqa: ANN401 - grpc's own types
        async def serve(
            raw: bytes, context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncGenerator[Message]:
            async with self._guarded(method, self.streams, context) as call:
                request = self._request(call, raw, handler)
                responses = handler.unary_stream(request, context)
                async with aclosing(self._while_key_holds(responses, context)) as checked:
                    async for response in checked:
                        yield response

        return serve

    @asynccontextmanager
    async def _guarded(
        self, method: str, gate: AdmissionGate, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncGenerator["_Call"]:
        """Let a call in, word what goes wrong, write its log line and its event."""
        call = _Call(method=method)
        try:
            self._drain.refuse_if_begun()
            with gate.admit():
                call.is_stranger = True
                call.caller = await self._authenticate(context)
                call.is_stranger = False
                address = self._peers.read(context.peer(), context.invocation_metadata() or ())
                if changes_something(method):
                    call.audited = self._audit.begin(
                        method, call.caller, address=str(address or "")
                    )
                call.caller.check_address(address)
                RIGHTS[method].check(call.caller, call=_short_name(method))
                self._refuse_haste(call.caller)
                with self._tenants_place(gate, call.caller):
                    CURRENT_CALLER.set(call.caller)
                    COMPANION.set(call.audited)
                    yield call
        except asyncio.CancelledError:
            call.code = grpc.StatusCode.CANCELLED.name
            raise
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - nothing a service raises may travel unworded
            refusal = refusal_of(error) or _defect(error, call)
            call.refuse(refusal)
            if call.is_stranger:
                # Outside of the gate: who waits here takes no caller's place.
                await self._strangers.hold(refusal)
            await _abort(context, refusal)
        finally:
            self._count(call, gate)
            if self._strangers.may_log(is_stranger=call.is_stranger):
                call.log()
            if call.audited is not None:
                self._audit.end(call.audited, code=call.code, reason=call.reason)

    def _count(self, call: "_Call", gate: AdmissionGate) -> None:
        self.tally.note(call.method, code=call.code, reason=call.reason)
        # Strangers are made to wait, and a stream takes as long as its caller likes.
        if gate is self.calls and not call.is_stranger:
            self.tally.note_seconds(call.method, call.seconds)

    def _refuse_haste(self, caller: Caller) -> None:
        """Let a tenant call as often as it may.

        Raises:
            CallRefusedError: RATE_LIMITED, with the time after which one more may pass.
        """
        if caller.is_operator:
            return
        per_minute_max = caller.limits.calls_per_minute_max or self._calls_per_minute_max
        wait_seconds = self._rates.wait_seconds(caller.tenant_id, per_minute_max=per_minute_max)
        if wait_seconds:
            raise errors.rate_limited(
                subject=f"tenants/{caller.tenant_id}",
                description=f"at most {per_minute_max} calls a minute",
                retry_delay=timedelta(seconds=wait_seconds),
            )

    def _tenants_place(self, gate: AdmissionGate, caller: Caller) -> AbstractContextManager[None]:
        # Operators keep their way in while a tenant floods the gateway.
        if caller.is_operator:
            return nullcontext()
        own_max = caller.limits.calls_in_flight_max if gate is self.calls else None
        return gate.admit_tenant(caller.tenant_id, calls_max=own_max)

    async def _authenticate(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        named = self._certificates_name_tenants
        certificate = read_identity(context.auth_context()) if named else None
        return await self._authenticator.authenticate(_authorization(context), certificate)

    def _request(self, call: "_Call", raw: bytes, handler: Any) -> Message:  # noqa: ANN401
        if call.method in self._not_implemented:
            raise errors.not_implemented(_short_name(call.method))
        request = parse_request(raw, deserializer=handler.request_deserializer, rules=self._rules)
        if call.audited is not None:
            call.audited.read(request)
        return request

    @asynccontextmanager
    async def _deadline(self, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncGenerator[None]:
        """Give a call that brought no deadline ours; grpc itself enforces a caller's own."""
        brought = context.time_remaining() is not None  # pyright: ignore[reportUnnecessaryComparison] - None without one
        limit = asyncio.timeout(None if brought else self._unary_deadline_seconds)
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise errors.deadline_exceeded(self._unary_deadline_seconds) from None
            raise

    async def _while_key_holds(
        self, responses: AsyncGenerator[Message], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncGenerator[Message]:
        """Pass a stream on for as long as the caller's key is valid."""
        async with aclosing(responses):
            while True:
                response = await self._next(responses, context)
                if response is None:
                    return
                yield response

    async def _next(
        self, responses: AsyncGenerator[Message], context: grpc.aio.ServicerContext[Any, Any]
    ) -> Message | None:
        news = asyncio.ensure_future(anext(responses, None))
        try:
            while not news.done():
                await asyncio.wait({news}, timeout=_STREAM_CHECK_SECONDS)
                await self._authenticate(context)
            return news.result()
        finally:
            # What the stream holds (a connection, a place in a list) is given back before we go on.
            news.cancel()
            await asyncio.wait({news})


@dataclass(slots=True, kw_only=True)
class _Call:
    """What the log tells of one call."""

    method: str
    caller: Caller | None = None
    # While its key is looked at, and for good when that does not open.
    is_stranger: bool = False
    # None for calls that change nothing.
    audited: AuditedCall | None = None
    code: str = grpc.StatusCode.OK.name
    reason: str = ""
    start_seconds: float = field(default_factory=time.monotonic)

    def refuse(self, refusal: Refusal) -> None:
        self.code = refusal.code.name
        self.reason = reason_name(refusal.reason)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start_seconds

    def log(self) -> None:
        _log.info(
            "call",
            method=self.method,
            tenant=self.caller.tenant_id if self.caller else "",
            key_id=self.caller.key_id if self.caller else "",
            code=self.code,
            reason=self.reason,
            milliseconds=round(self.seconds * 1000, 1),
        )


def _defect(error: Exception, call: _Call) -> Refusal:
    """Log what nobody expected under a number, and give the caller nothing but the number."""
    incident = secrets.token_hex(_INCIDENT_BYTES)
    # The type and the place, not the message: PostgreSQL's and pydantic's quote what callers sent.
    _log.error(
        "defect",
        incident=incident,
        method=call.method,
        error=type(error).__qualname__,
        place=traceback.format_tb(error.__traceback__),
    )
    return errors.server_defect(incident).refusal


def _authorization(context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else None
    return None


async def _abort(context: grpc.aio.ServicerContext[Any, Any], refusal: Refusal) -> None:
    status = to_status(refusal)
    await context.abort(
        refusal.code,
        status.message,
        trailing_metadata=((_DETAILS_KEY, status.SerializeToString()),),
    )


def _short_name(method: str) -> str:
    return method.rpartition("/")[2]
