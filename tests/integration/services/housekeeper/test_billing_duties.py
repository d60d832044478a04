"""Duties that prepare reports and invoices, as the housekeeper's own role on committed rows."""

from datetime import UTC, datetime

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from structlog.testing import capture_logs

from metering.usage_roll_ups import get_clock
from services.housekeeper.invariant_watch import InvariantWatch
from services.housekeeper.invoice_drafts import InvoiceDrafts
from services.housekeeper.usage_roll_ups import UsageRollUps
from tests.integration.fixture_types import Become, Pools, Postgres
from tests.integration.metering.shop import Shop, open_shop

OCTOBER = datetime(2026, 10, 10, tzinfo=UTC)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


async def sold_shop(connection: AsyncConnection, become: Become, tenant_id: str) -> Shop:
    shop = await open_shop(connection, become, tenant_id=tenant_id)
    await shop.move_charges(await shop.sell(images=2), OCTOBER)
    await connection.commit()
    return shop


async def test_usage_is_rolled_up_for_every_tenant(
    postgres: Postgres, become: Become, pools: Pools, fresh_tenant_id: str
) -> None:
    async with (
        await AsyncConnection[TupleRow].connect(postgres.admin_url) as connection,
        pools("atelier_housekeeper") as pool,
    ):
        shop = await sold_shop(connection, become, fresh_tenant_id)

        await UsageRollUps(pool).sweep()
        await shop.sell()
        await connection.commit()
        await UsageRollUps(pool).sweep()

        counted = await (
            await connection.execute(
                "SELECT sum(image_count) FROM usage_roll_ups WHERE tenant_id = %s AND NOT is_month",
                [fresh_tenant_id],
            )
        ).fetchone()
        clock = await get_clock(connection, shop.tenant_id)
    assert counted == (3,)
    assert clock == "Europe/Berlin"


@pytest.mark.parametrize("is_harmed", [False, True])
async def test_a_month_that_can_be_invoiced_is_told_and_one_that_cannot_too(
    postgres: Postgres, become: Become, pools: Pools, fresh_tenant_id: str, *, is_harmed: bool
) -> None:
    async with (
        await AsyncConnection[TupleRow].connect(postgres.admin_url) as connection,
        pools("atelier_housekeeper") as pool,
    ):
        shop = await sold_shop(connection, become, fresh_tenant_id)
        harm = "UPDATE usage_records SET price_nanos = price_nanos + %s WHERE tenant_id = %s"
        await shop.without_guards(harm, int(is_harmed), fresh_tenant_id)
        await connection.commit()

        with capture_logs() as logs:
            await InvoiceDrafts(pool, now=lambda: NOW).sweep()

        # What was harmed is mended, for the other tests of this database.
        await shop.without_guards(harm, -int(is_harmed), fresh_tenant_id)
        await connection.commit()
    (told,) = [line for line in logs if line.get("tenant") == fresh_tenant_id]
    assert told["invoice"] == "2026-10"
    if is_harmed:
        assert (told["event"], told["log_level"]) == ("invoice_stopped", "error")
    else:
        assert told["event"] == "invoice_waits_to_be_finalized"
        assert told["images"] == 2


async def told_by(watch: InvariantWatch) -> set[str]:
    with capture_logs() as logs:
        await watch.check()
    return {line["invariant"] for line in logs if line["event"] == "invariant_violated"}


async def test_all_is_looked_at_first_and_what_changed_from_then_on(
    postgres: Postgres, become: Become, pools: Pools, fresh_tenant_id: str
) -> None:
    async with (
        await AsyncConnection[TupleRow].connect(postgres.admin_url) as connection,
        pools("atelier_housekeeper") as pool,
    ):
        shop = await sold_shop(connection, become, fresh_tenant_id)
        watch = InvariantWatch(pool)
        await watch.check()
        dear = "UPDATE usage_records SET price_nanos = price_nanos + %s WHERE tenant_id = %s"
        rich = (
            "UPDATE accounts SET credits_posted = credits_posted + %s "
            "WHERE tenant_id = %s AND kind = 'REVENUE'"
        )
        for harm in (dear, rich):
            await shop.without_guards(harm, 1, fresh_tenant_id)
        await connection.commit()

        told_of_changes = await told_by(watch)
        told_of_all = await told_by(InvariantWatch(pool))

        # What was harmed is mended, for the other tests of this database.
        for harm in (dear, rich):
            await shop.without_guards(harm, -1, fresh_tenant_id)
        await connection.commit()
    of_changes = {"usage_differs_from_captures", "usage_lines_differ_from_price"}
    assert told_of_changes >= of_changes
    assert told_of_all >= of_changes | {"account_counters_differ"}
    # Its sum is one over everything: the night's.
    assert "account_counters_differ" not in told_of_changes
