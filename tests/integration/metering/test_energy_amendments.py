"""Energy that comes late: receipts, usage, roll-ups, drafts and margins show the same of it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from metering.energy import Share
from metering.energy_amendments import ROUND_START, amend, list_partial
from metering.energy_records import CounterReading, EnergySegment, SegmentBatch
from metering.energy_source import EnergySource
from metering.energy_store import insert_segments
from metering.invoices import get_invoice
from metering.margins import MarginDimension, MarginFilter, query_margin
from metering.periods import BillingPeriod
from metering.power import SegmentKind
from metering.usage_records import get_receipts
from metering.usage_reports import UsageDimension, UsageFilter, list_usage, query_usage
from metering.usage_roll_ups import TenantClock, roll_up, roll_up_anew
from tenants.ids import GpuId, ImageId, SessionId
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import ISSUER, Shop, open_shop

MEASURED = (9_000, EnergySource.NVML_COUNTER)
PARTIAL = (1_000, EnergySource.PARTIAL)


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """A tenant whose usage is rolled up."""
    shop = await open_shop(connection, become, tenant_id="acme-of-late-energy")
    await shop.as_role("atelier_housekeeper")
    await roll_up_anew(
        connection, TenantClock(tenant_id=shop.tenant_id, time_zone=shop.tenant.time_zone)
    )
    return shop


async def charge_early(shop: Shop) -> ImageId:
    """Charge a labelled image before its last segment has come."""
    await shop.accept(labels={"campaign": "mugs"})
    return await shop.draw(
        await shop.claim(), energy_millijoules=1_000, energy_source=EnergySource.PARTIAL
    )


async def deliver(shop: Shop, image_id: ImageId) -> None:
    """The meter sends what the image took, from before its claim to its last mark."""
    start_time = datetime.now(UTC) - timedelta(minutes=1)
    end_time = start_time + timedelta(minutes=2)
    share = Share(image_id=image_id, attempt=1, millijoules=9_000, error_millijoules=30)
    await shop.as_role("atelier_meter_intake")
    await insert_segments(
        shop.connection,
        SegmentBatch(
            gpu_id=GpuId("cpu-0"),
            epoch=4711,
            display_name="card",
            segments=(
                EnergySegment(
                    number=1,
                    start_time=start_time,
                    end_time=end_time,
                    millijoules=9_000,
                    error_millijoules=30,
                    kind=SegmentKind.WORK,
                    source=EnergySource.NVML_COUNTER,
                    tenant_id=shop.tenant_id,
                    session_id=SessionId(f"{shop.tenant_id}-s1"),
                    last_mark_number=3,
                    shares=(share,),
                ),
            ),
            start_reading=CounterReading(millijoules=0, read_time=start_time),
            end_reading=CounterReading(millijoules=9_000, read_time=end_time),
        ),
    )


async def amend_all(shop: Shop) -> list[bool]:
    """What the housekeeper does with each sweep."""
    await shop.as_role("atelier_housekeeper")
    partial, _ = await list_partial(shop.connection, after=ROUND_START, limit=1_000)
    # Tests of whole processes commit what they leave in the same database.
    ours = [usage for usage in partial if usage.tenant_id == shop.tenant_id]
    return [await amend(shop.connection, usage) for usage in ours]


async def take_in(shop: Shop) -> int:
    await shop.as_role("atelier_housekeeper")
    return await roll_up(shop.connection, shop.tenant_id, limit=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What each way to ask says of a tenant's only image: energy and where it comes from."""

    receipt: tuple[int, EnergySource]
    record: tuple[int, EnergySource]
    sums: tuple[tuple[int, EnergySource], ...]
    invoice: tuple[int, EnergySource]
    price_nanos: int


async def look(shop: Shop, image_id: ImageId) -> Shown:
    await shop.as_role("atelier_gateway")
    receipts = await get_receipts(shop.connection, tenant_id=shop.tenant_id, image_ids=[image_id])
    (record,) = await list_usage(
        shop.connection, tenant_id=shop.tenant_id, chosen=UsageFilter(), limit=10
    )
    now = datetime.now(UTC)
    month = BillingPeriod.containing(now, time_zone=shop.tenant.time_zone)
    invoice = await get_invoice(
        shop.connection, shop.tenant, invoice_id=month.invoice_id, issuer=ISSUER, now=now
    )
    usage = receipts[image_id].usage
    return Shown(
        receipt=(usage.energy_millijoules, usage.energy_source),
        record=(record.energy_millijoules, record.energy_source),
        sums=tuple([await ask(shop, dimension) for dimension in UsageDimension]),
        invoice=(invoice.energy[0].energy_millijoules, invoice.energy[0].energy_source),
        price_nanos=usage.price_nanos,
    )


async def ask(shop: Shop, dimension: UsageDimension) -> tuple[int, EnergySource]:
    report = await query_usage(
        shop.connection,
        tenant_id=shop.tenant_id,
        time_zone=shop.tenant.time_zone,
        group_by=[dimension],
        chosen=UsageFilter(),
        limit=10,
        label_key="campaign" if dimension is UsageDimension.LABEL else "",
    )
    (group,) = report.groups
    assert group.image_count == 1
    return group.energy_millijoules, group.energy_source


def everywhere(energy: tuple[int, EnergySource], *, price_nanos: int) -> Shown:
    return Shown(
        receipt=energy,
        record=energy,
        sums=(energy,) * len(UsageDimension),
        invoice=energy,
        price_nanos=price_nanos,
    )


@pytest.mark.parametrize("is_rolled_up", [False, True])
async def test_late_energy_is_the_same_everywhere_and_the_price_stays(
    shop: Shop, is_rolled_up: bool
) -> None:
    image_id = await charge_early(shop)
    if is_rolled_up:
        assert await take_in(shop) == 1
    charged = await look(shop, image_id)
    await deliver(shop, image_id)

    amended = await amend_all(shop)
    shown = await look(shop, image_id)
    taken_in = await take_in(shop)
    shown_later = await look(shop, image_id)

    price_nanos = charged.price_nanos
    assert amended == [True]
    assert taken_in == 1, "it is in the sums anew"
    assert charged == everywhere(PARTIAL, price_nanos=price_nanos)
    assert shown == shown_later == everywhere(MEASURED, price_nanos=price_nanos)


async def test_what_is_shown_already_is_not_amended_again(shop: Shop) -> None:
    image_id = await charge_early(shop)
    await deliver(shop, image_id)

    answers = [await amend_all(shop) for _ in range(2)]

    assert answers == [[True], [False]]


async def test_made_anew_the_sums_know_late_energy_too(shop: Shop) -> None:
    image_id = await charge_early(shop)
    await take_in(shop)
    await deliver(shop, image_id)
    await amend_all(shop)

    await roll_up_anew(
        shop.connection, TenantClock(tenant_id=shop.tenant_id, time_zone=shop.tenant.time_zone)
    )

    assert (await look(shop, image_id)).sums == (MEASURED,) * len(UsageDimension)


async def test_the_operators_cost_counts_late_energy(shop: Shop) -> None:
    image_id = await charge_early(shop)
    await deliver(shop, image_id)
    await amend_all(shop)

    await shop.as_role("atelier_operator")
    row = await (
        await shop.connection.execute(
            "SELECT energy_millijoules FROM shown_usage WHERE image_id = %s", [image_id]
        )
    ).fetchone()
    report = await query_margin(
        shop.connection,
        MarginFilter(
            start_time=datetime.now(UTC) - timedelta(hours=1),
            end_time=datetime.now(UTC) + timedelta(hours=1),
            tenant_id=shop.tenant_id,
        ),
        group_by=[MarginDimension.IMAGE],
    )

    assert row == (9_000,)
    assert [margin.image_count for _, margin in report.groups()] == [1]


async def test_what_an_amended_image_was_counted_with_leaves_the_sum_it_shares(
    shop: Shop,
) -> None:
    amended_id, _ = await charge_early(shop), await charge_early(shop)
    await take_in(shop)
    await deliver(shop, amended_id)

    await shop.as_role("atelier_housekeeper")
    partial, _ = await list_partial(shop.connection, after=ROUND_START, limit=1_000)
    (usage,) = [usage for usage in partial if usage.image_id == amended_id]
    assert await amend(shop.connection, usage)

    await shop.as_role("atelier_gateway")
    report = await query_usage(
        shop.connection,
        tenant_id=shop.tenant_id,
        time_zone=shop.tenant.time_zone,
        group_by=[UsageDimension.DAY],
        chosen=UsageFilter(),
        limit=10,
    )
    assert [group.image_count for group in report.groups] == [2]
    assert [group.energy_millijoules for group in report.groups] == [9_000 + 1_000]
