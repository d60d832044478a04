"""Several who finalize at once make one invoice."""

import asyncio
from dataclasses import replace

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from metering.errors import (
    InvoiceStateError,
)
from metering.invoice_document import LineKind
from tests.integration.fixture_types import Become, Postgres
from tests.integration.metering.finalized.office import (
    OCTOBER,
    finalize,
    long_open_shop,
    read,
    sell_in,
)


async def test_whoever_finalizes_at_once_makes_one_invoice_and_no_image_is_lost(
    postgres: Postgres, become: Become, fresh_tenant_id: str
) -> None:
    connect = AsyncConnection[TupleRow].connect
    async with (
        await connect(postgres.admin_url) as selling,
        await connect(postgres.admin_url) as first,
        await connect(postgres.admin_url) as second,
    ):
        shop = await long_open_shop(selling, become, tenant_id=fresh_tenant_id)
        await sell_in(shop, OCTOBER, images=3)
        await selling.commit()

        async def finalize_on(connection: AsyncConnection) -> str:
            try:
                async with connection.transaction():
                    await finalize(replace(shop, connection=connection))
            except InvoiceStateError:
                return "refused"
            return "finalized"

        # It is charged in October too, and commits only when October's usage is taken already:
        # one of them then waits for the wallet, the other for the tenant.
        await sell_in(shop, OCTOBER)
        finalizing = [asyncio.create_task(finalize_on(other)) for other in (first, second)]
        await until_waiting(selling, count=2)
        await selling.commit()
        outcomes = await asyncio.gather(*finalizing)
        next_draft = await read(shop, "2026-11")

    assert sorted(outcomes) == ["finalized", "refused"]
    assert [(line.kind, line.image_count) for line in next_draft.lines if line.component] == [
        (LineKind.ADJUSTMENT, 1)
    ]


async def until_waiting(connection: AsyncConnection, *, count: int) -> None:
    """Return when so many others wait for a lock."""
    await connection.execute("RESET ROLE")
    while True:
        row = await (
            await connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            )
        ).fetchone()
        if row == (count,):
            return
        await asyncio.sleep(0.05)
