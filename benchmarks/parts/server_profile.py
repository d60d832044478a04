"""What a load costs, and what it waits for: CPU of both sides, and what PostgreSQL's backends do.

A backend is looked at every 20 ms. "working" is one that waits for nothing PostgreSQL knows of (on
a machine that others share it may still wait for a core); "Client:ClientRead" waits for the next
statement of its transaction, so for Python and the way between the two.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import psutil
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

_LOOK_SECONDS: Final = 0.02
_BACKENDS: Final = b"""
    SELECT coalesce(wait_event_type || ':' || wait_event, 'working')
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename = 'atelier_gateway' AND state <> 'idle'
"""


@dataclass(slots=True, kw_only=True)
class Profile:
    """CPU seconds of PostgreSQL and of this process, and how often backends waited for what."""

    seconds: float = 0.0
    server_cpu_seconds: float = 0.0
    client_cpu_seconds: float = 0.0
    waits: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def profiled(admin_url: str) -> AsyncGenerator[Profile]:
    """Watch the server while something runs."""
    profile = Profile()
    async with await AsyncConnection[TupleRow].connect(admin_url, autocommit=True) as conn:
        postmaster = psutil.Process(conn.info.backend_pid).parent()
        assert postmaster is not None
        before = _cpu_seconds(postmaster), time.process_time(), time.monotonic()
        watching = asyncio.create_task(_watch(conn, profile))
        yield profile
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        profile.server_cpu_seconds = _cpu_seconds(postmaster) - before[0]
        profile.client_cpu_seconds = time.process_time() - before[1]
        profile.seconds = time.monotonic() - before[2]


def told(profile: Profile, *, rate: float) -> dict[str, Any]:
    """A profile as it is written down, for so many acceptances a second."""
    count = rate * profile.seconds
    looks = profile.waits.total() or 1
    return {
        "accepts_per_second": round(rate, 1),
        "postgresql_cpu_milliseconds_per_accept": round(
            1000 * profile.server_cpu_seconds / count, 2
        ),
        "python_cpu_milliseconds_per_accept": round(1000 * profile.client_cpu_seconds / count, 2),
        "backends_percent": {
            name: round(100 * seen / looks) for name, seen in profile.waits.most_common(6)
        },
    }


async def commits_per_second(admin_url: str, *, seconds: float) -> float:
    """How often a second one connection commits one row of 8 bytes: what the disk allows."""
    async with await AsyncConnection[TupleRow].connect(admin_url, autocommit=True) as conn:
        await conn.execute(b"CREATE TABLE one_row (n bigint)")
        count, start = 0, time.monotonic()
        while time.monotonic() - start < seconds:
            await conn.execute(b"INSERT INTO one_row VALUES (1)")
            count += 1
        taken = time.monotonic() - start
        await conn.execute(b"DROP TABLE one_row")
    return round(count / taken, 1)


async def _watch(conn: AsyncConnection[TupleRow], profile: Profile) -> None:
    while True:
        found = await (await conn.execute(_BACKENDS)).fetchall()
        profile.waits.update(str(name) for (name,) in found)
        await asyncio.sleep(_LOOK_SECONDS)


def _cpu_seconds(postmaster: psutil.Process) -> float:
    return sum(sum(child.cpu_times()[:2]) for child in postmaster.children())
