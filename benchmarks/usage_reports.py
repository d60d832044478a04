"""How long does a report over a year of two million usage records take?

    python benchmarks/usage_reports.py [--records 2000000] [--runs 20]

Starts an embedded PostgreSQL of its own and fills `usage_records` of one tenant with COPY: a year,
three models, three sizes, four keys, five projects, campaigns of two weeks as a label, 3 % failures
and growing usage. The housekeeper's own function makes the roll-ups; then 1,000 more records are
written that are in none yet. Each report is asked for as `QueryUsage` asks, as the gateway's role:
the first page of groups and the total, and of the largest also a page in November. The target is
200 ms for every report.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psutil
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from database.migration_runner import migrate
from metering.usage_reports import UsageDimension, UsageFilter, query_usage
from metering.usage_roll_ups import TenantClock, roll_up_anew
from services.standalone.embedded_postgres import start_postgres
from tenants.ids import TenantId

RESULTS: Final = Path(__file__).resolve().parent / "results"
TARGET_MILLISECONDS: Final = 200
TENANT: Final = TenantId("bench")
TIME_ZONE: Final = "Europe/Berlin"
START: Final = datetime(2025, 12, 31, 23, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
FRESH_RECORDS: Final = 1_000
PAGE: Final = 51
FAILED_SHARE: Final = 0.03
MODELS: Final = ("sd35-large", "sd35-medium", "sd35-large-turbo")
SIZES: Final = ((1024, 1024), (1344, 768), (768, 1344))
KEYS: Final = ("web", "batch", "studio", "night")
PROJECTS: Final = ("spring", "autumn", "catalogue", "social", "")
COLUMNS: Final = (
    "tenant_id, image_id, job_id, attempt, outcome, failure_reason, key_id, project, model, tier, "
    "width, height, num_inference_steps, seed, gpu_seconds, energy_millijoules, "
    "energy_error_millijoules, energy_source, price_id, price_nanos, currency, charge_time, labels"
)
D: Final = UsageDimension
LATE_DAY: Final = "by day, model, size, project: a page that begins in November"
REPORTS: Final[dict[str, tuple[tuple[UsageDimension, ...], UsageFilter]]] = {
    "one sum": ((), UsageFilter()),
    "by day": ((D.DAY,), UsageFilter()),
    "by model": ((D.MODEL,), UsageFilter()),
    "by size": ((D.SIZE,), UsageFilter()),
    "by key": ((D.KEY,), UsageFilter()),
    "by project": ((D.PROJECT,), UsageFilter()),
    "by label": ((D.LABEL,), UsageFilter()),
    "by day, model, size, project": ((D.DAY, D.MODEL, D.SIZE, D.PROJECT), UsageFilter()),
    LATE_DAY: ((D.DAY, D.MODEL, D.SIZE, D.PROJECT), UsageFilter()),
    "by label, model of one project": ((D.LABEL, D.MODEL), UsageFilter(project="spring")),
    "by day of eleven months and two part days": (
        (D.DAY,),
        UsageFilter(
            start_time=START + timedelta(days=10, hours=9),
            end_time=START + timedelta(days=345, hours=15),
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds of one report; ``server_cpu`` is what PostgreSQL's process worked for it.

    On a machine that others share, the rest of the time it waited for a core.
    """

    report: str
    median: float
    slowest: float
    server_cpu: float
    without_roll_ups: float


def records(
    count: int, *, first: int, start: datetime, span: timedelta
) -> Iterator[tuple[Any, ...]]:
    """Make records; usage grows through the span."""
    chance = random.Random(first)  # noqa: S311 - a load, no secret
    for number in range(first, first + count):
        share = ((number - first + chance.random()) / count) ** 0.8
        succeeded = chance.random() > FAILED_SHARE
        width, height = chance.choice(SIZES)
        project = chance.choice(PROJECTS)
        labels = {"campaign": f"{project}-{int(share * 26):02}"} if project else {}
        yield (
            TENANT,
            f"i{number:09}",
            f"j{number // 100:07}",
            1,
            "SUCCEEDED" if succeeded else "FAILED",
            None if succeeded else "OUT_OF_MEMORY",
            chance.choice(KEYS),
            project,
            chance.choice(MODELS),
            "BATCH",
            width,
            height,
            28,
            number,
            round(chance.uniform(3, 6), 3),
            chance.randint(2_500_000, 4_500_000),
            40_000,
            "NVML_COUNTER",
            "p1",
            chance.randint(8_000_000, 12_000_000) if succeeded else 0,
            "EUR",
            start + share * span,
            Jsonb(labels),
        )


async def write(connection: AsyncConnection[TupleRow], rows: Iterator[tuple[Any, ...]]) -> None:
    """Write records as fast as the server takes them."""
    async with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY usage_records ({COLUMNS}) FROM STDIN".encode()) as copy,
    ):
        for row in rows:
            await copy.write_row(row)


async def fill(url: str, count: int) -> dict[str, float]:
    """Write the year and its roll-ups; returns seconds of each part."""
    seconds: dict[str, float] = {}
    async with await AsyncConnection[TupleRow].connect(url) as connection:
        await connection.execute(
            b"INSERT INTO tenants (tenant_id, display_name, currency, time_zone) "
            b"VALUES (%s, 'Bench', 'EUR', %s)",
            [TENANT, TIME_ZONE],
        )
        # The images of these records do not exist: the keys that point at them are not checked.
        await connection.execute(b"SET LOCAL session_replication_role = replica")
        begin = time.perf_counter()
        await write(connection, records(count, first=0, start=START, span=YEAR))
        seconds["copy"] = time.perf_counter() - begin
        await connection.commit()
        begin = time.perf_counter()
        await connection.execute(b"SET LOCAL ROLE atelier_housekeeper")
        await roll_up_anew(connection, TenantClock(tenant_id=TENANT, time_zone=TIME_ZONE))
        seconds["roll_ups"] = time.perf_counter() - begin
        await connection.commit()
        await connection.execute(b"SET LOCAL session_replication_role = replica")
        fresh = records(FRESH_RECORDS, first=count, start=START + YEAR, span=timedelta(minutes=10))
        await write(connection, fresh)
        await connection.execute(
            b"INSERT INTO fresh_usage SELECT tenant_id, image_id FROM usage_records "
            b"WHERE charge_time >= %s",
            [START + YEAR],
        )
        await connection.commit()
        await connection.set_autocommit(True)
        await connection.execute(b"VACUUM ANALYZE usage_records, usage_roll_ups, fresh_usage")
    return seconds


async def ask(
    connection: AsyncConnection[TupleRow],
    group_by: Sequence[UsageDimension],
    chosen: UsageFilter,
    *,
    time_zone: str = TIME_ZONE,
    from_day: date | None = None,
) -> tuple[float, Any]:
    """Ask for the first page and the total; returns milliseconds and the total."""
    label_key = "campaign" if D.LABEL in group_by else ""
    begin = time.perf_counter()
    report = await query_usage(
        connection,
        tenant_id=TENANT,
        time_zone=time_zone,
        group_by=group_by,
        chosen=chosen,
        limit=PAGE,
        label_key=label_key,
        from_day=from_day,
    )
    return (time.perf_counter() - begin) * 1000, report.total


async def measure(url: str, runs: int) -> list[Timing]:
    """Ask for each report several times, and once without roll-ups."""
    timings: list[Timing] = []
    async with await AsyncConnection[TupleRow].connect(url) as connection:
        server = psutil.Process(connection.info.backend_pid)
        await connection.execute(b"SET ROLE atelier_gateway")
        await connection.execute(b"SELECT set_config('atelier.tenant_id', %s, false)", [TENANT])
        await connection.commit()
        for report, (group_by, chosen) in REPORTS.items():
            worked = sum(server.cpu_times()[:2])
            from_day = date(2026, 11, 15) if report == LATE_DAY else None
            asked = [
                await ask(connection, group_by, chosen, from_day=from_day) for _ in range(runs)
            ]
            worked = sum(server.cpu_times()[:2]) - worked
            # Another clock than the roll-ups': everything is summed record by record.
            raw = await ask(connection, group_by, chosen, time_zone="Europe/Paris")
            assert raw[1] == asked[0][1], "roll-ups say the same as the records"
            milliseconds = [taken for taken, _ in asked]
            timings.append(
                Timing(
                    report=report,
                    median=round(statistics.median(milliseconds), 1),
                    slowest=round(max(milliseconds), 1),
                    server_cpu=round(worked * 1000 / runs, 1),
                    without_roll_ups=round(raw[0], 1),
                )
            )
            print(timings[-1])
    return timings


def main() -> None:
    """Fill, ask, and write down what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atelier-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        server = start_postgres(
            data_directory=directory / "data",
            socket_directory=directory / "socket",
            log_path=directory / "postgres.log",
            admin_password="of-a-benchmark",  # noqa: S106 - it ends with this process
        )
        try:
            migrate(server.admin_url, role_passwords={})
            seconds = asyncio.run(fill(server.admin_url, options.records))
            timings = asyncio.run(measure(server.admin_url, options.runs))
        finally:
            server.stop()
    result = {
        "command": f"python benchmarks/usage_reports.py --records {options.records}",
        "machine": {
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "load_average": os.getloadavg(),
        },
        "records": options.records + FRESH_RECORDS,
        "fresh_records": FRESH_RECORDS,
        "fill_seconds": {part: round(taken, 1) for part, taken in seconds.items()},
        "target_milliseconds": TARGET_MILLISECONDS,
        "milliseconds": [asdict(timing) for timing in timings],
    }
    (RESULTS / "usage_reports.json").write_text(json.dumps(result, indent=2) + "\n")
    missed = [timing.report for timing in timings if timing.median > TARGET_MILLISECONDS]
    print(f"target of {TARGET_MILLISECONDS} ms missed by: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
