"""Every call that changes something leaves an event in the audit log.

What changed is written in the transaction of the change itself: it goes along with the call's first
transaction that changed anything, so that neither is there without the other, and no servicer has
to remember it. A call that changed nothing (refused, or answered before) is written afterwards, by
a writer of its own, so that refusing stays quick.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import grpc
import structlog
from google.protobuf.message import Message

from database.pool import UNREACHABLE_ERRORS, Connection, Pool, tenant_transaction
from services.gateway import resource_names
from services.gateway.callers import OWN_TENANT, Caller
from services.gateway.rate_limits import RateLimits
from tenants.api_keys import Role
from tenants.audit_store import NewAuditEvent, insert_event, insert_event_of_change
from tenants.ids import KeyId, TenantId

_KEYS_COUNTED_MAX: Final = 10_000
_WAITING_EVENTS_MAX: Final = 1_000
_FINISH_SECONDS: Final = 5.0
_RESOURCE_NAME_LENGTH_MAX: Final = 300
_READING: Final = (
    "Get",
    "List",
    "Watch",
    "Query",
    "Download",
    "Export",
    "Simulate",
    "Verify",
)

_log = structlog.get_logger()


def changes_something(method: str) -> bool:
    """Tell whether a call is for the log: all are whose name does not say that they read."""
    return not method.rpartition("/")[2].startswith(_READING)


@dataclass(slots=True, kw_only=True)
class AuditedCall:
    """One call on its way; goes along with its transactions until one has changed something."""

    event: NewAuditEvent
    # False for what asks only what would happen.
    wanted: bool = True
    _is_in_transaction: bool = False
    _is_written: bool = False

    @property
    def is_written(self) -> bool:
        return self._is_written

    def read(self, request: Message) -> None:
        """Note what a request is about; the contract's rules have passed it."""
        self.wanted = not getattr(request, "validate_only", False)
        name = _resource_name(request, caller_tenant_id=self.event.caller_tenant_id)
        mask = getattr(request, "update_mask", None)
        self.event = replace(
            self.event,
            tenant_id=_concerned(name, self.event),
            resource_name=name[:_RESOURCE_NAME_LENGTH_MAX],
            changed_fields=list(mask.paths) if mask is not None else [],
            request_id=getattr(request, "request_id", ""),
        )

    async def before_commit(self, connection: Connection) -> None:
        if self.wanted and not self._is_written:
            self._is_in_transaction = await insert_event_of_change(connection, self.event)

    def after_commit(self) -> None:
        self._is_written = self._is_written or self._is_in_transaction


class AuditTrail:
    """Begins events and sees to it that each ends in the log."""

    def __init__(self, pool: Pool, *, refusals_per_minute_max: int) -> None:
        self._pool = pool
        self._refusals_per_minute_max = refusals_per_minute_max
        self._limits = RateLimits(names_max=_KEYS_COUNTED_MAX)
        self._omitted: Counter[KeyId] = Counter()
        self._waiting: asyncio.Queue[NewAuditEvent] = asyncio.Queue(_WAITING_EVENTS_MAX)
        self._writer: asyncio.Task[None] | None = None
        self.lost_count = 0

    def begin(self, method: str, caller: Caller, *, address: str) -> AuditedCall:
        """Begin the event of a call whose caller is known."""
        service, _, call = method.rpartition("/")
        return AuditedCall(
            event=NewAuditEvent(
                tenant_id=caller.tenant_id,
                caller_tenant_id=caller.tenant_id,
                key_id=caller.key_id,
                role=caller.role,
                issuer=caller.issuer,
                subject=caller.subject,
                address=address,
                method=f"{service.rpartition('.')[2]}/{call}",
                changed_fields=[],
                code=grpc.StatusCode.OK.name,
            )
        )

    def end(self, call: AuditedCall, *, code: str, reason: str) -> None:
        """Write a call that changed nothing, soon; so many of each key as the limit admits."""
        if call.is_written or not call.wanted:
            return
        key_id = call.event.key_id
        if self._limits.wait_seconds(key_id, per_minute_max=self._refusals_per_minute_max):
            self._omit(key_id)
            return
        event = replace(
            call.event, code=code, reason=reason, omitted_count=self._omitted.pop(key_id, 0)
        )
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self._omit(key_id, event.omitted_count)

    def start(self) -> None:
        """Begin to write."""
        self._writer = asyncio.create_task(self._write_again_and_again())

    async def finish(self) -> None:
        """Write what waits, and end."""
        if self._writer is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._waiting.join()
        self._writer.cancel()
        await asyncio.wait({self._writer})

    def _omit(self, key_id: KeyId, count: int = 0) -> None:
        if len(self._omitted) < _KEYS_COUNTED_MAX:
            self._omitted[key_id] += count + 1

    async def _write_again_and_again(self) -> None:
        while True:
            await self._write(await self._waiting.get())
            self._waiting.task_done()

    async def _write(self, event: NewAuditEvent) -> None:
        try:
            async with tenant_transaction(self._pool, event.tenant_id) as conn:
                await insert_event(conn, event)
        except UNREACHABLE_ERRORS as error:
            # Nothing was changed, so nothing is hidden: the process's own log has the call.
            self.lost_count += 1
            _log.warning(
                "audit_event_lost",
                method=event.method,
                key_id=event.key_id,
                code=event.code,
                error=type(error).__qualname__,
            )


def _concerned(name: str, event: NewAuditEvent) -> TenantId:
    """Say whom a call concerns: its caller, or whom an operator named."""
    head, _, rest = name.partition("/")
    if event.role is not Role.OPERATOR or head != "tenants":
        return event.caller_tenant_id
    return TenantId(rest.partition("/")[0])


def _resource_name(request: Message, *, caller_tenant_id: TenantId) -> str:
    """Find the name of what a request is about: its own, its parent's, or that of the thing."""
    own = f"tenants/{OWN_TENANT}"
    name = _named(request)
    if name == own or name.startswith(f"{own}/"):
        return f"tenants/{caller_tenant_id}{name.removeprefix(own)}"
    return name


def _named(request: Message) -> str:
    tenant_id = getattr(request, "tenant_id", "")
    if tenant_id:
        return resource_names.TENANT.write(tenant_id)
    for name in ("name", "parent"):
        text = getattr(request, name, "")
        if text:
            return text
    parts = [value for _, value in request.ListFields() if isinstance(value, Message)]
    return next((part_name for part in parts if (part_name := getattr(part, "name", ""))), "")
