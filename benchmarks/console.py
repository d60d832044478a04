"""Is the console quick with a year of work in it, and what do its open pages cost the gateway?

    python benchmarks/console.py [--jobs 10000] [--records 1000000] [--pages 100]

Starts an installation of its own with its console, and writes jobs, usage records and their
roll-ups of one tenant with COPY: a year that ends now. Twenty jobs, spread over the year, are
active, so that the list of those is found by looking through many others. Then a browser's part:
pages are asked for over HTTP, warm, one after the other; the first page is added up with all it
loads, as sent; and live overviews are held open, once by sessions of one key and once of five keys,
while the operating system says what the gateway and the console work.
"""

import argparse
import asyncio
import re
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import psutil
from machine import describe_machine, write_result
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from service_on_cpu import TENANT, beside, open_account
from usage_reports import YEAR, records, write

import atelier
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from database.server import url_for
from metering.usage_roll_ups import TenantClock, roll_up_anew
from services.standalone.embedded_postgres import ADMINISTRATOR
from services.standalone.installation import RunningInstallation, running_installation
from services.standalone.settings import Settings
from services.standalone.terminal import Terminal
from tenants.ids import TenantId

RESULTS: Final = Path(__file__).resolve().parent / "results"
PAGES: Final = {
    "overview": "/",
    "jobs": "/jobs",
    "active jobs": "/jobs?state=active",
    "usage by day": "/usage",
    "usage by project": "/usage?by=project",
}
RUNS: Final = 20
SESSIONS: Final = 5
HELD_SECONDS: Final = 20
IDLE_SECONDS: Final = 5
OVERVIEW_MILLISECONDS_TARGET: Final = 300
FIRST_PAGE_BYTES_TARGET: Final = 300_000
GATEWAY_SHARE_TARGET: Final = 0.05
ACTIVE_JOBS: Final = 20
JOB_COLUMNS: Final = (
    "tenant_id, job_id, state, display_name, tier, project, key_id, price_id, currency, "
    "hold_nanos, create_time, start_time, end_time, image_count, queued_count, succeeded_count, "
    "quarantined_count"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Live pages that were open: cores that were busy meanwhile, by process, and what came."""

    pages: int
    keys: int
    cores: Mapping[str, float]
    bytes_received: int


def main() -> None:
    """Fill, ask, hold, and write down what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--pages", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atelier-bench-", ignore_cleanup_errors=True) as folder:
        # PostgreSQL may run as another user.
        Path(folder).chmod(0o755)
        settings = Settings(data_directory=Path(folder), port=0, cpu_device_count=1)
        with running_installation(settings, Terminal(quiet=True)) as running:
            (result,) = beside(running, lambda: [asyncio.run(measure(running, options))])
    command = f"python benchmarks/console.py --jobs {options.jobs} --records {options.records}"
    about = {"command": f"{command} --pages {options.pages}", "machine": describe_machine()}
    write_result({**about, **result}, RESULTS / "console.json")


async def measure(
    running: RunningInstallation, options: argparse.Namespace
) -> Mapping[str, object]:
    """Answer the three questions."""
    installation = running.installation
    operator_key = installation.data.operator_key.read_text().strip()
    api_key = await asyncio.to_thread(open_account, installation.gateway_address, operator_key)
    keys = [api_key, *more_keys(installation.gateway_address, operator_key)]
    await fill(running, jobs=options.jobs, count=options.records)
    console = f"http://{installation.console_address}"
    async with AsyncExitStack() as stack:
        same = [await stack.enter_async_context(browser(console, api_key)) for _ in keys]
        pages = {name: await page_milliseconds(same[0], path) for name, path in PAGES.items()}
        first_page = await first_page_bytes(same[0])
        idle = await hold(running, [], pages=0, keys=0)
        others = [await stack.enter_async_context(browser(console, key)) for key in keys[1:]]
        held = [
            await hold(running, same, pages=options.pages, keys=1),
            await hold(running, [same[0], *others], pages=options.pages, keys=len(keys)),
        ]
    return {
        "overview_milliseconds_target": OVERVIEW_MILLISECONDS_TARGET,
        "page_milliseconds": pages,
        "first_page_bytes_target": FIRST_PAGE_BYTES_TARGET,
        "first_page_bytes": sum(first_page.values()),
        "first_page_bytes_by_file": first_page,
        "gateway_cores_target": GATEWAY_SHARE_TARGET,
        "live_pages": [asdict(one) for one in (idle, *held)],
    }


def more_keys(address: str, operator_key: str) -> list[str]:
    """Keys of the same tenant, for other people."""
    with atelier.Client(address, api_key=operator_key, tenant=TENANT) as operator:
        return [
            operator.create_api_key(ApiKey(role=KeyRole.KEY_ROLE_MEMBER)).secret
            for _ in range(SESSIONS - 1)
        ]


async def fill(running: RunningInstallation, *, jobs: int, count: int) -> None:
    """Write a year that ends now, roll-ups included."""
    installation = running.installation
    url = url_for(
        installation.database_urls["atelier_gateway"],
        user=ADMINISTRATOR,
        password=installation.secrets.administrator_password,
    )
    start = datetime.now(UTC) - YEAR
    async with await AsyncConnection[TupleRow].connect(url) as connection:
        # The images of these records do not exist: the keys that point at them are not checked.
        await connection.execute(b"SET LOCAL session_replication_role = replica")
        await write_jobs(connection, jobs, images=count // jobs, start=start)
        await write(connection, records(count, first=0, start=start, span=YEAR))
        await connection.commit()
        await connection.execute(b"SET LOCAL ROLE atelier_housekeeper")
        await roll_up_anew(connection, TenantClock(tenant_id=TenantId(TENANT), time_zone="UTC"))
        await connection.commit()
        await connection.set_autocommit(True)
        await connection.execute(b"VACUUM ANALYZE jobs, usage_records, usage_roll_ups")


async def write_jobs(
    connection: AsyncConnection[TupleRow], count: int, *, images: int, start: datetime
) -> None:
    """Jobs that are over, and a few that wait for somebody to look at their pictures."""
    async with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY jobs ({JOB_COLUMNS}) FROM STDIN".encode()) as copy,
    ):
        for number in range(count):
            is_active = number % max(1, count // ACTIVE_JOBS) == 0
            at = start + number / count * YEAR
            end = None if is_active else at + timedelta(minutes=9)
            state = "AWAITING_REVIEW" if is_active else "SUCCEEDED"
            counts = (0, 0, images) if is_active else (0, images, 0)
            names = (TENANT, f"j{number:07}", state, f"Campaign {number}", "BATCH", "spring")
            money = ("web", "p1", "EUR", 0)
            await copy.write_row((*names, *money, at, at, end, images, *counts))


@asynccontextmanager
async def browser(console: str, api_key: str) -> AsyncGenerator[httpx.AsyncClient]:
    """Somebody who is logged in."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=console, timeout=60, limits=limits) as http:
        page = await http.get("/login")
        token = re.search(r'name="form_token" value="([^"]*)"', page.text)
        assert token is not None, page.text
        answer = await http.post("/login", data={"form_token": token[1], "api_key": api_key})
        assert answer.has_redirect_location, answer.text
        yield http


async def page_milliseconds(http: httpx.AsyncClient, path: str) -> dict[str, float]:
    """From the question to the page's last byte, on the same machine; warm."""
    taken: list[float] = []
    for _ in range(RUNS + 2):
        begin = time.perf_counter()
        answer = await http.get(path)
        taken.append((time.perf_counter() - begin) * 1000)
        answer.raise_for_status()
    warm = sorted(taken[2:])
    return {
        "median": round(statistics.median(warm), 1),
        "p95": round(warm[RUNS * 95 // 100 - 1], 1),
        "slowest": round(warm[-1], 1),
    }


async def first_page_bytes(http: httpx.AsyncClient) -> dict[str, int]:
    """Bytes of the overview and of all it names, as sent to a browser that takes gzip."""
    page = await http.get("/")
    assets = sorted(set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)))
    answers = [page, *[(await http.get(path)).raise_for_status() for path in assets]]
    return {
        answer.url.path.rpartition("/")[2] or "overview": answer.num_bytes_downloaded
        for answer in answers
    }


async def hold(
    running: RunningInstallation, browsers: Sequence[httpx.AsyncClient], *, pages: int, keys: int
) -> Held:
    """Keep live overviews open, evenly over the sessions."""
    received = [0] * pages
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(listen(browsers[number % len(browsers)], received, number))
            for number in range(pages)
        ]
        # All are open, and have been told once what is so.
        while not all(received):
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        before, began = cpu_seconds(running), time.monotonic()
        await asyncio.sleep(HELD_SECONDS if pages else IDLE_SECONDS)
        after, seconds = cpu_seconds(running), time.monotonic() - began
        for task in tasks:
            task.cancel()
    cores = {name: round((after[name] - before[name]) / seconds, 4) for name in before}
    return Held(pages=pages, keys=keys, cores=cores, bytes_received=sum(received))


async def listen(http: httpx.AsyncClient, received: list[int], number: int) -> None:
    """Hold one page open."""
    async with http.stream("GET", "/live", headers={"accept": "text/event-stream"}) as answer:
        answer.raise_for_status()
        async for chunk in answer.aiter_raw():
            received[number] += len(chunk)


def cpu_seconds(running: RunningInstallation) -> dict[str, float]:
    """User and system time of the two processes so far."""
    process_ids = running.supervisor.process_ids
    return {
        name: sum(psutil.Process(process_ids[name]).cpu_times()[:2])
        for name in ("gateway", "console")
    }


if __name__ == "__main__":
    main()
