"""Operators read where the joules of each GPU and hour went; nobody else does."""

import csv
import secrets
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from atelier import AsyncClient
from atelier.cli.energy_command import write_csv
from atelier.v1 import energy_pb2, fleet_service_pb2
from metering.energy_hours import store_open_hours
from metering.energy_store import insert_segments
from metering.power import SegmentKind
from tenants.ids import GpuId
from tests.integration.fixture_types import Postgres
from tests.integration.metering.energy_samples import HOUR, batch, segment
from tests.integration.services.gateway.gateway_fixtures import ServedGateway, Studio, refusal

pytestmark = pytest.mark.integration

ONE_HOUR = timedelta(hours=1)


@pytest.fixture
async def gpu(postgres: Postgres) -> str:
    """A GPU's name; three hours of it are stored, without a worker, the last one not over."""
    gpu_id = GpuId(f"gpu-{secrets.token_hex(6)}")
    async with await AsyncConnection.connect(postgres.admin_url) as conn:
        for number in (1, 2, 3):
            free = segment(number, SegmentKind.FREE, 85_000, hour=HOUR + (number - 1) * ONE_HOUR)
            sent = batch(free, start_millijoules=85_000 * (number - 1))
            await insert_segments(conn, replace(sent, gpu_id=gpu_id))
        await store_open_hours(conn, hours_max=1000)
    return f"gpus/{gpu_id}"


def request(parent: str, **fields: Any) -> fleet_service_pb2.GetEnergyReconciliationRequest:
    return fleet_service_pb2.GetEnergyReconciliationRequest(parent=parent, **fields)


async def test_an_operator_reads_the_hours_of_a_gpu_in_pages(
    gateway: ServedGateway, gpu: str
) -> None:
    get = gateway.operator.fleet.GetEnergyReconciliation

    first = await get(request(gpu, page_size=2))
    second = await get(request(gpu, page_size=2, page_token=first.next_page_token))

    hours = [*first.energy_reconciliations, *second.energy_reconciliations]
    assert [hour.hour_start_time.ToDatetime(tzinfo=UTC) for hour in hours] == [
        HOUR,
        HOUR + ONE_HOUR,
        HOUR + 2 * ONE_HOUR,
    ]
    assert [hour.sealed for hour in hours] == [True, True, False]
    assert {(hour.counter_millijoules, hour.free_millijoules) for hour in hours} == {
        (85_000, 85_000)
    }
    assert {hour.energy_source for hour in hours} == {energy_pb2.ENERGY_SOURCE_NVML_COUNTER}
    assert second.next_page_token == ""


async def test_the_hours_of_all_gpus_are_cut_to_a_time(gateway: ServedGateway, gpu: str) -> None:
    answer = await gateway.operator.fleet.GetEnergyReconciliation(
        request("gpus/-", start_time=HOUR + ONE_HOUR, end_time=HOUR + 2 * ONE_HOUR)
    )

    assert [
        (hour.gpu, hour.hour_start_time.ToDatetime(tzinfo=UTC))
        for hour in answer.energy_reconciliations
        if hour.gpu == gpu
    ] == [(gpu, HOUR + ONE_HOUR)]


async def test_a_studio_does_not_see_what_the_gpus_take(
    gateway: ServedGateway, acme: Studio
) -> None:
    for client in (acme.member, acme.admin):
        refused = await refusal(client.fleet.GetEnergyReconciliation(request("gpus/-")))

        assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "ROLE_REQUIRED")


async def test_an_unknown_gpu_is_not_found(gateway: ServedGateway) -> None:
    refused = await refusal(
        gateway.operator.fleet.GetEnergyReconciliation(request("gpus/no-such-gpu"))
    )

    assert (refused.code, refused.metadata["name"]) == ("NOT_FOUND", "gpus/no-such-gpu")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"parent": "tenants/acme"}, "parent"),
        ({"page_size": 1001}, "page_size"),
        ({"start_time": HOUR, "end_time": HOUR}, ""),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    gateway: ServedGateway, fields: dict[str, Any], field: str
) -> None:
    asked = request(**({"parent": "gpus/-"} | fields))

    refused = await refusal(gateway.operator.fleet.GetEnergyReconciliation(asked))

    assert refused.code == "INVALID_ARGUMENT"
    assert refused.fields == [field]


async def test_the_hours_leave_as_a_file_in_whole_millijoules(
    gateway: ServedGateway, gpu: str, tmp_path: Path
) -> None:
    async with AsyncClient(gateway.address, api_key=gateway.operator.key) as client:
        hours = [hour async for hour in client.get_energy_reconciliation(gpu)]

    write_csv(hours, tmp_path / "energy.csv")

    rows = list(csv.DictReader((tmp_path / "energy.csv").read_text().splitlines()))
    assert [row["hour_start_time"] for row in rows][:2] == [
        "2031-05-01T10:00:00Z",
        "2031-05-01T11:00:00Z",
    ]
    assert {row["counter_millijoules"] for row in rows} == {"85000"}
    assert {row["residual_millijoules"] for row in rows} == {"0"}
    assert [bool(row["seal_time"]) for row in rows] == [True, True, False]
