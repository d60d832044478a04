"""What fails for one tenant is logged, and every other tenant's turn comes in the same sweep."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

import pytest
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow
from structlog.testing import capture_logs

from database.migration_runner import migrate
from database.pool import Pool, open_pool
from database.server import url_for
from metering import ledger
from services.housekeeper.invoice_drafts import InvoiceDrafts
from services.housekeeper.ledger_sealing import CreditExpiry, LedgerSealing
from services.housekeeper.usage_roll_ups import UsageRollUps
from tenants.ids import TenantId
from tests.integration.fixture_types import PASSWORD, Become
from tests.integration.metering.shop import Shop, open_shop

OCTOBER = datetime(2026, 10, 10, tzinfo=UTC)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Street:
    """Two shops that have sold something, and the housekeeper's pool."""

    connection: AsyncConnection[TupleRow]
    pool: Pool
    shops: tuple[Shop, Shop]

    async def refuse(self, table: str, tenant_id: str) -> None:
        """From now on no row of that tenant goes into a table."""
        await self.connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'refused'; END $$"
        )
        await self.connection.execute(
            sql.SQL(
                "CREATE TRIGGER refused BEFORE INSERT ON {} FOR EACH ROW "
                "WHEN (NEW.tenant_id = {}) EXECUTE FUNCTION refuse()"
            ).format(sql.Identifier(table), sql.Literal(tenant_id))
        )
        await self.connection.commit()

    async def tenants_in(self, rows: LiteralString) -> set[str]:
        found = await self.connection.execute(f"SELECT DISTINCT tenant_id FROM {rows}")  # noqa: S608
        return {row[0] for row in await found.fetchall()}


@pytest.fixture
async def street(fresh_database: str, become: Become) -> AsyncGenerator[Street]:
    migrate(fresh_database, role_passwords={"atelier_housekeeper": PASSWORD})
    housekeeper = url_for(fresh_database, user="atelier_housekeeper", password=PASSWORD)
    async with (
        await AsyncConnection[TupleRow].connect(fresh_database) as connection,
        open_pool(housekeeper, size_max=2) as pool,
    ):
        acme = await open_shop(connection, become, tenant_id="acme")
        zeta = await open_shop(connection, become, tenant_id="zeta")
        for shop in (acme, zeta):
            await shop.move_charges(await shop.sell(), OCTOBER)
        await become(connection, None)
        await connection.commit()
        yield Street(connection=connection, pool=pool, shops=(acme, zeta))


@pytest.fixture(params=[("acme", "zeta"), ("zeta", "acme")], ids=["acme_fails", "zeta_fails"])
def tenants(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Who fails and who does not: whichever a sweep begins with."""
    pair: tuple[str, str] = request.param
    return pair


def failed_tenants(logs: Iterable[Mapping[str, object]]) -> list[object]:
    return [line["tenant"] for line in logs if line["event"] == "tenant_failed"]


async def test_the_others_ledgers_are_sealed(street: Street, tenants: tuple[str, str]) -> None:
    failing, other = tenants
    await street.refuse("ledger_blocks", failing)

    with capture_logs() as logs:
        await LedgerSealing(street.pool).sweep()

    assert await street.tenants_in("ledger_blocks") == {other}
    assert failed_tenants(logs) == [failing]


async def test_the_others_credit_expires(street: Street, tenants: tuple[str, str]) -> None:
    failing, other = tenants
    for shop in street.shops:
        await ledger.grant_credit(
            street.connection,
            tenant_id=shop.tenant_id,
            amount_nanos=1_000,
            currency="EUR",
            description="trial",
            request_id=None,
            expire_time=OCTOBER,
        )
    await street.refuse("transfers", failing)

    with capture_logs() as logs:
        await CreditExpiry(street.pool).sweep()

    assert await street.tenants_in("transfers WHERE reason = 'BREAKAGE'") == {other}
    assert failed_tenants(logs) == [failing]


async def test_the_others_days_are_summed_anew(street: Street, tenants: tuple[str, str]) -> None:
    failing, other = tenants
    await street.refuse("usage_roll_ups", failing)

    with capture_logs() as logs:
        await UsageRollUps(street.pool).sweep()

    assert await street.tenants_in("usage_roll_ups") == {other}
    assert failed_tenants(logs) == [failing]


async def test_the_others_fresh_usage_is_summed(street: Street, tenants: tuple[str, str]) -> None:
    failing, _ = tenants
    await UsageRollUps(street.pool).sweep()
    for shop in street.shops:
        await shop.sell()
    await street.shops[0].as_role(None)
    await street.refuse("usage_roll_ups", failing)

    with capture_logs() as logs:
        await UsageRollUps(street.pool).sweep()

    assert await street.tenants_in("fresh_usage") == {failing}
    assert failed_tenants(logs) == [failing]


async def test_the_others_invoices_are_told(street: Street, tenants: tuple[str, str]) -> None:
    failing, other = tenants
    await street.connection.execute(
        "UPDATE tenants SET time_zone = 'Mars/Base' WHERE tenant_id = %s", [TenantId(failing)]
    )
    await street.connection.commit()

    with capture_logs() as logs:
        await InvoiceDrafts(street.pool, now=lambda: NOW).sweep()

    told = [line for line in logs if line["event"] == "invoice_waits_to_be_finalized"]
    assert [line["tenant"] for line in told] == [other]
    assert failed_tenants(logs) == [failing]
