"""Every call that takes times answers for each time that a timestamp can hold."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atelier.v1 import billing_service_pb2, cost_pb2, fleet_service_pb2, usage_service_pb2
from services.housekeeper.usage_roll_ups import UsageRollUps
from tests.integration.fixture_types import Pools
from tests.integration.services.gateway.gateway_fixtures import ServedGateway, Studio, refusal

pytestmark = pytest.mark.integration

EDGES = [
    ("0001-01-01T00:00:00Z", None),
    (None, "9999-12-31T23:59:59.999999999Z"),
    ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    ("9999-12-05T00:00:00Z", None),
    (None, "0001-01-01T00:00:00Z"),
]


def window(start: str | None, end: str | None) -> dict[str, Timestamp]:
    written = {"start_time": start, "end_time": end}
    times: dict[str, Timestamp] = {}
    for field, text in written.items():
        if text is not None:
            times[field] = Timestamp()
            times[field].FromJsonString(text)
    return times


@pytest.fixture
async def studio(gateway: ServedGateway, pools: Pools, time_zone: str) -> Studio:
    """A tenant whose days have roll-ups, so that reports are cut at its midnights."""
    studio = await gateway.new_tenant(time_zone=time_zone)
    async with pools("atelier_housekeeper") as pool:
        await UsageRollUps(pool).sweep()
    return studio


@pytest.mark.parametrize("time_zone", ["America/New_York", "Europe/Berlin"])
async def test_reports_lists_and_files_answer_at_the_ends_of_time(
    gateway: ServedGateway, studio: Studio
) -> None:
    usage, billing = studio.admin.usage, studio.admin.billing
    for start, end in EDGES:
        times: dict[str, Any] = window(start, end)
        chosen = usage_service_pb2.UsageFilter(**times)

        await usage.QueryUsage(
            usage_service_pb2.QueryUsageRequest(parent="tenants/-", filter=chosen)
        )
        await usage.ListUsageRecords(
            usage_service_pb2.ListUsageRecordsRequest(parent="tenants/-", filter=chosen)
        )
        file = usage.ExportUsage(
            usage_service_pb2.ExportUsageRequest(
                parent="tenants/-",
                filter=chosen,
                kind=usage_service_pb2.USAGE_EXPORT_KIND_FOCUS,
            )
        )
        assert [part.WhichOneof("part") async for part in file]
        await billing.ListTransfers(
            billing_service_pb2.ListTransfersRequest(parent="tenants/-", **times)
        )
        await gateway.operator.fleet.GetEnergyReconciliation(
            fleet_service_pb2.GetEnergyReconciliationRequest(parent="gpus/-", **times)
        )


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z"),
        ("9999-12-05T00:00:00Z", "9999-12-31T23:59:59Z"),
    ],
)
async def test_margins_answer_at_the_ends_of_time(
    gateway: ServedGateway, start: str, end: str
) -> None:
    times: dict[str, Any] = window(start, end)

    answer = await gateway.operator.billing.QueryMargin(
        billing_service_pb2.QueryMarginRequest(group_by=[cost_pb2.MARGIN_DIMENSION_DAY], **times)
    )

    assert list(answer.groups) == []


@pytest.mark.parametrize("time_zone", ["America/New_York", "Europe/Berlin"])
@pytest.mark.parametrize("month", ["0000-01", "0001-01", "9999-12"])
async def test_a_price_is_not_simulated_for_a_month_that_was_not(
    studio: Studio, gateway: ServedGateway, month: str
) -> None:
    prices = await gateway.operator.billing.ListPrices(billing_service_pb2.ListPricesRequest())

    refused = await refusal(
        gateway.operator.billing.SimulatePrice(
            billing_service_pb2.SimulatePriceRequest(
                parent=f"tenants/{studio.tenant_id}",
                billing_period=month,
                price_version=prices.price_versions[0].name,
            )
        )
    )

    assert refused.reason == "RESOURCE_NOT_FOUND"
