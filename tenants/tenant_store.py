"""Tenants in the database."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from tenants.api_key_store import tell_gateways_of_tenant
from tenants.errors import TenantExistsError
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


class TenantState(StrEnum):
    """Whether a tenant is served."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    # Its keys open nothing, and what is left of it is being deleted …
    DELETING = "DELETING"
    # … until but its id and its ledger are.
    DELETED = "DELETED"

    @property
    def is_leaving(self) -> bool:
        """Whether it has begun to be deleted, which nobody comes back from."""
        return self in {TenantState.DELETING, TenantState.DELETED}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTenant:
    """What an operator says of a new tenant.

    ``allowed_models`` None admits every model of the catalogue; ``time_zone`` is an IANA name and
    bounds the billing periods.
    """

    tenant_id: TenantId
    display_name: str
    currency: str
    price_book: str = "standard"
    legal_name: str = ""
    postal_address: str = ""
    vat_id: str = ""
    time_zone: str = "UTC"
    allowed_models: list[str] | None = None
    queued_images_max: int = 100_000
    # Of each gateway; None: what the installation has set.
    calls_per_minute_max: int | None = None
    calls_in_flight_max: int | None = None
    # Its part of the GPU time beside the others'.
    gpu_weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant(NewTenant):
    """A tenant as stored."""

    state: TenantState
    # Set by its own admins; None: the installation's.
    default_output_format: str | None
    create_time: datetime
    update_time: datetime


async def insert_tenant(conn: AsyncConnection, tenant: NewTenant) -> Tenant:
    """Store a new tenant; its ledger accounts are opened by the caller in the same transaction.

    Raises:
        TenantExistsError: the name is taken.
    """
    async with conn.cursor(row_factory=typed_row(Tenant)) as cursor:
        await cursor.execute(_QUERIES["insert_tenant"], asdict(tenant))
        row = await cursor.fetchone()
    if row is None:
        raise TenantExistsError(tenant.tenant_id)
    return row


async def get_tenant(conn: AsyncConnection, tenant_id: TenantId) -> Tenant | None:
    """Find a tenant by its name."""
    async with conn.cursor(row_factory=typed_row(Tenant)) as cursor:
        await cursor.execute(_QUERIES["get_tenant"], {"tenant_id": tenant_id})
        return await cursor.fetchone()


async def get_tenant_to_order(conn: AsyncConnection, tenant_id: TenantId) -> Tenant | None:
    """Find a tenant that something is about to be added to; until then it cannot be deleted."""
    await conn.execute(_QUERIES["keep_from_leaving"], {"tenant_id": tenant_id})
    return await get_tenant(conn, tenant_id)


async def lock_tenant(conn: AsyncConnection, tenant_id: TenantId) -> Tenant | None:
    """Find a tenant and keep others from changing it until the transaction's end."""
    async with conn.cursor(row_factory=typed_row(Tenant)) as cursor:
        await cursor.execute(_QUERIES["lock_tenant"], {"tenant_id": tenant_id})
        return await cursor.fetchone()


async def update_tenant(conn: AsyncConnection, tenant: Tenant) -> Tenant:
    """Write a locked tenant as it shall be; its currency and times of creation stay.

    Gateways are told, so that a tenant that was suspended orders nothing more.
    """
    async with conn.cursor(row_factory=typed_row(Tenant)) as cursor:
        await cursor.execute(_QUERIES["update_tenant"], asdict(tenant))
        row = await cursor.fetchone()
    assert row is not None, "the caller has locked its row"
    await tell_gateways_of_tenant(conn, tenant.tenant_id)
    return row


async def set_default_output_format(
    conn: AsyncConnection, tenant_id: TenantId, output_format: str | None
) -> Tenant | None:
    """Set the format of pictures whose spec names none; None leaves it to the installation."""
    async with conn.cursor(row_factory=typed_row(Tenant)) as cursor:
        await cursor.execute(
            _QUERIES["set_default_output_format"],
            {"tenant_id": tenant_id, "output_format": output_format},
        )
        return await cursor.fetchone()


async def list_tenants(conn: AsyncConnection, *, limit: int, after: str = "") -> list[Tenant]:
    """List tenants by name, after one."""
    async with conn.cursor(row_factory=typed_row(Tenant)) as cursor:
        await cursor.execute(_QUERIES["list_tenants"], {"after": after, "limit": limit})
        return await cursor.fetchall()
