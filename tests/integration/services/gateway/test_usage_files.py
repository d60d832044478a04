"""Usage as files, through the SDK: CSV, Parquet and FOCUS say the same sum as everything else."""

import csv
import io
import json
from collections.abc import AsyncGenerator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]

import atelier
from atelier.money import as_decimal
from atelier.v1.usage_service_pb2 import UsageDimension, UsageExportKind, UsageFilter
from tenants.ids import TenantId
from tests.integration.fixture_types import Pools
from tests.integration.services.gateway.drawing import Drawer, recorder_for_gateways
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    spec,
)

pytestmark = pytest.mark.integration


@pytest.fixture
async def client(
    gateway: ServedGateway, acme: Studio, pools: Pools, short_directory: Path
) -> AsyncGenerator[atelier.AsyncClient]:
    """Two pictures of a campaign and one that failed; the client is the studio's admin."""
    await acme.member.jobs.CreateJob(create_job(spec(3), labels={"campaign": "mugs"}))
    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory) as spool,
        atelier.AsyncClient(gateway.address, api_key=acme.admin.key) as client,
    ):
        drawer = Drawer(pool=pool, tenant_id=TenantId(acme.tenant_id), spool=spool)
        for _ in range(2):
            await drawer.succeed(await drawer.claim())
        await drawer.fail((await drawer.claim()).attempt)
        yield client


def csv_rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def parquet_rows(data: bytes) -> list[dict[str, Any]]:
    library: Any = parquet
    return library.read_table(io.BytesIO(data)).to_pylist()


async def test_every_file_says_the_same_sum_as_the_report_and_the_invoice(
    client: atelier.AsyncClient,
) -> None:
    as_csv = await client.export_usage(UsageExportKind.USAGE_EXPORT_KIND_CSV)
    as_parquet = await client.export_usage(UsageExportKind.USAGE_EXPORT_KIND_PARQUET)
    as_focus = await client.export_usage(UsageExportKind.USAGE_EXPORT_KIND_FOCUS)
    report = await client.query_usage()
    invoice = await client.get_invoice()

    sums = {
        "csv": sum(Decimal(row["billed_cost"]) for row in csv_rows(as_csv.data)),
        "parquet": sum(row["billed_cost"] for row in parquet_rows(as_parquet.data)),
        "focus": sum(Decimal(row["BilledCost"]) for row in csv_rows(as_focus.data)),
        "report": as_decimal(report.total.price),
        "invoice": as_decimal(invoice.net_total),
    }
    assert set(sums.values()) == {Decimal("0.002")}
    assert as_parquet.data.startswith(b"PAR1")
    assert [file.file_name.partition("-")[2] for file in (as_csv, as_parquet, as_focus)] == [
        "usage.csv",
        "usage.parquet",
        "focus-1.2.csv",
    ]


async def test_what_failed_is_in_the_file_with_its_reason_and_no_price(
    client: atelier.AsyncClient,
) -> None:
    file = await client.export_usage(UsageExportKind.USAGE_EXPORT_KIND_CSV)

    failed = [row for row in csv_rows(file.data) if row["outcome"] == "FAILED"]
    assert len(failed) == 1
    assert failed[0]["failure_reason"]
    assert failed[0]["billed_cost"] == "0"
    assert json.loads(failed[0]["labels"]) == {"campaign": "mugs"}


async def test_a_filter_is_the_same_for_reports_records_and_files(
    client: atelier.AsyncClient,
) -> None:
    nothing = UsageFilter(project="no such project")

    file = await client.export_usage(
        UsageExportKind.USAGE_EXPORT_KIND_PARQUET, usage_filter=nothing
    )
    records = [record async for record in client.list_usage_records(nothing)]

    assert parquet_rows(file.data) == []
    assert records == []


async def test_usage_is_grouped_by_a_label_and_records_carry_theirs(
    client: atelier.AsyncClient,
) -> None:
    report = await client.query_usage([UsageDimension.USAGE_DIMENSION_LABEL], label_key="campaign")
    records = [record async for record in client.list_usage_records()]

    assert [(list(group.group_values), group.image_count) for group in report.groups] == [
        (["mugs"], 3)
    ]
    assert [dict(record.labels) for record in records] == [{"campaign": "mugs"}] * 3
