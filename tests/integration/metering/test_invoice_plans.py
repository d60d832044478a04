"""How PostgreSQL finds what a draft is made of: by indexes, not through a tenant's whole ledger."""

from datetime import UTC, datetime

from psycopg import AsyncConnection

from database.queries import load_queries
from metering import invoice_usage
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import open_shop


async def test_prepaid_credit_is_summed_from_the_credits_transfers_alone(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await open_shop(connection, become, tenant_id="acme-of-plans")
    await shop.sell(images=2)
    await shop.as_role(None)
    # Tables of a test are so small that reading them whole is cheapest.
    await connection.execute("SET LOCAL enable_seqscan = off")

    plan = await connection.execute(
        b"EXPLAIN " + load_queries(invoice_usage.__file__)["read_period"],
        {
            "tenant_id": shop.tenant_id,
            "taken_by": None,
            "start_time": datetime(2026, 11, 1, tzinfo=UTC),
            "end_time": datetime(2026, 12, 1, tzinfo=UTC),
            "late_before": None,
            "time_zone": "Europe/Berlin",
            "factor_times": [],
            "images_max": 10,
        },
    )

    lines = [str(row[0]) for row in await plan.fetchall()]
    assert any("transfers_of_credit" in line for line in lines)
    assert not any("transfers_of_tenant" in line for line in lines)
