"""A price above its hold: the tenant pays the hold, the operator the rest, and nothing is lost."""

from psycopg import AsyncConnection

from metering import ledger_reading
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import open_shop


async def test_what_exceeds_a_hold_is_written_off_and_told(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await open_shop(connection, become, tenant_id="acme-of-write-offs")
    await shop.accept()

    await shop.draw(await shop.claim(), gpu_seconds=100.0)

    await shop.as_role("atelier_gateway")
    moved = await ledger_reading.list_transfers(connection, tenant_id=shop.tenant_id, limit=2)
    assert [(transfer.reason, transfer.amount_nanos) for transfer in moved] == [
        # An image at half of 1,000,001, 100 s at half of 333,333, 9 J; less the hold.
        ("WRITE_OFF", 500_000 + 16_666_650 + 312 - 2_513_889),
        ("CAPTURE", 2_513_889),
    ]
