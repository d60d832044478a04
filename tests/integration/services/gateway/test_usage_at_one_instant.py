"""A report is of one instant, also while the sums it reads are made anew."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from psycopg import AsyncConnection

from atelier.v1 import usage_service_pb2
from database.pool import transaction
from metering import usage_reports
from metering.usage_roll_ups import TenantClock, get_clock, roll_up_anew
from services.housekeeper.usage_roll_ups import UsageRollUps
from tenants.ids import TenantId
from tests.integration.fixture_types import Pools
from tests.integration.services.gateway.drawing import Drawer, recorder_for_gateways
from tests.integration.services.gateway.gateway_fixtures import ServedGateway, create_job

pytestmark = pytest.mark.integration

# An instant never has the same date in both.
WEST, EAST = "Pacific/Pago_Pago", "Pacific/Kiritimati"


async def test_roll_ups_of_another_clock_between_two_statements_lose_nothing(
    gateway: ServedGateway, pools: Pools, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = await gateway.new_tenant(time_zone=WEST)
    tenant_id = TenantId(studio.tenant_id)
    await studio.member.jobs.CreateJob(create_job())
    async with (
        pools("atelier_recorder") as recorder,
        pools("atelier_housekeeper") as housekeeper,
        recorder_for_gateways(recorder, short_directory) as spool,
    ):
        drawer = Drawer(pool=recorder, tenant_id=tenant_id, spool=spool)
        await drawer.succeed(await drawer.claim())
        await UsageRollUps(housekeeper).sweep()

        async def get_clock_before_it_moves(
            conn: AsyncConnection, tenant_id: TenantId
        ) -> str | None:
            clock = await get_clock(conn, tenant_id)
            async with transaction(housekeeper) as other:
                await roll_up_anew(other, TenantClock(tenant_id=tenant_id, time_zone=EAST))
            return clock

        monkeypatch.setattr(usage_reports, "get_clock", get_clock_before_it_moves)
        today = datetime.combine(datetime.now(ZoneInfo(WEST)).date(), time(), ZoneInfo(WEST))
        chosen = usage_service_pb2.UsageFilter()
        chosen.start_time.FromDatetime((today - timedelta(days=1)).astimezone(UTC))
        chosen.end_time.FromDatetime((today + timedelta(days=1)).astimezone(UTC))

        report = await studio.admin.usage.QueryUsage(
            usage_service_pb2.QueryUsageRequest(parent="tenants/-", filter=chosen)
        )

    assert report.total.image_count == 1
