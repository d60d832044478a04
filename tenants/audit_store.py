"""The audit log in the database: who did what, when, with which key, from where, and its end."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from tenants.api_keys import Role
from tenants.ids import KeyId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuditEvent:
    """A call that changed something, or was refused.

    ``tenant_id`` is whom it concerned, ``caller_tenant_id`` whose key it was; ``omitted_count``
    refused calls of the same key just before were not written down.
    """

    tenant_id: TenantId
    caller_tenant_id: TenantId
    key_id: KeyId
    role: Role
    # Of the caller's token, where it came with one in place of a key.
    issuer: str = ""
    subject: str = ""
    address: str
    # Service and call, "JobService/CreateJob".
    method: str
    resource_name: str = ""
    changed_fields: list[str]
    # A UUID, or empty.
    request_id: str = ""
    # Name of a gRPC status code.
    code: str
    # Name of an ErrorReason, or empty.
    reason: str = ""
    omitted_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent(NewAuditEvent):
    """An event as stored; ids count up."""

    event_id: int
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which events are wished for; None means all."""

    method: str | None = None
    key_tenant_id: TenantId | None = None
    key_id: KeyId | None = None
    resource_name: str | None = None
    refused_only: bool = False
    start_time: datetime | None = None
    end_time: datetime | None = None


async def insert_event(conn: AsyncConnection, event: NewAuditEvent) -> None:
    """Write an event of a call that changed nothing."""
    await conn.execute(_QUERIES["insert_event"], asdict(event))


async def insert_event_of_change(conn: AsyncConnection, event: NewAuditEvent) -> bool:
    """Write an event if this transaction has changed anything; tell whether it has.

    It concerns the transaction's own tenant, where that is set. The resource is the one that the
    request made, where it made one.
    """
    written = await conn.execute(
        _QUERIES["insert_event_of_change"],
        asdict(event) | {"request_uuid": event.request_id or None},
    )
    return written.rowcount == 1


async def list_events(
    conn: AsyncConnection, wanted: AuditFilter, *, limit: int, before_event_id: int | None = None
) -> Sequence[AuditEvent]:
    """List the events that this transaction sees, newest first, before one."""
    async with conn.cursor(row_factory=typed_row(AuditEvent)) as cursor:
        await cursor.execute(
            _QUERIES["list_events"],
            asdict(wanted) | {"limit": limit, "before_event_id": before_event_id},
        )
        return await cursor.fetchall()
