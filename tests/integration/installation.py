"""A tenant with credit and a price, and the recorder as a process: what several tests stand on.

Everything is committed, because the processes are others: each test has a tenant of its own.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, dict_row

from metering import accounts, ledger
from metering.invariants import check_invariants
from metering.price_book import insert_price_version
from metering.price_document import Component, PriceComponent, PriceDocument, Tier
from services.jobs import job_store, recovery
from services.jobs.cancellation import cancel_job
from services.jobs.image_states import TERMINAL_JOB_STATES, ImageState
from services.jobs.records import Image, ImageSpec, Job, NewImage, NewJob
from tenants.ids import ImageId, JobId, KeyId, PriceId, TenantId
from tenants.run_directory import RunDirectory
from tenants.tenant_store import NewTenant, insert_tenant
from tests.integration.fixture_types import Postgres

PRICE_NANOS = 10_000_000
CREDIT_NANOS = 1_000_000_000
MODEL = "tiny"

# How long a test waits for what must happen before it says that it did not; a busy machine is slow.
PATIENCE_SECONDS = 60.0
T = TypeVar("T")


def spec(*, size: int = 64, steps: int = 2, seed: int = 7, prompt: str = "a red mug") -> ImageSpec:
    return ImageSpec(
        model=MODEL,
        prompt=prompt,
        negative_prompt="",
        width=size,
        height=size,
        num_inference_steps=steps,
        guidance_scale=4.5,
        seed=seed,
        max_sequence_length=77,
        output_format="PNG",
        output_quality=90,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """A tenant, seen by the administrator of its database."""

    postgres: Postgres
    tenant_id: TenantId
    price_id: PriceId

    async def accept(self, *specs: ImageSpec, tier: Tier = Tier.BATCH) -> Job:
        """Accept a job; its tokens are the caller's."""
        async with await self._connect() as conn:
            return await job_store.create_job(
                conn,
                NewJob(
                    tenant_id=self.tenant_id,
                    key_id=KeyId("key"),
                    display_name="",
                    tier=tier,
                    project="",
                    labels={},
                    price_id=self.price_id,
                    currency="EUR",
                    images=tuple(
                        NewImage(spec=one, hold_nanos=PRICE_NANOS, labels={}) for one in specs
                    ),
                ),
            )

    async def cancel(self, job: Job) -> None:
        async with await self._connect() as conn:
            assert await cancel_job(conn, job.job_id)

    async def job(self, job: Job) -> Job:
        async with await self._connect() as conn:
            found = await job_store.get_job(conn, tenant_id=self.tenant_id, job_id=job.job_id)
        assert found is not None
        return found

    async def image(self, image_id: str) -> Image:
        rows = await self.rows("SELECT job_id FROM images WHERE image_id = %s", image_id)
        async with await self._connect() as conn:
            found = await job_store.get_image(
                conn,
                tenant_id=self.tenant_id,
                job_id=JobId(str(rows[0]["job_id"])),
                image_id=ImageId(image_id),
            )
        assert found is not None
        return found

    async def rows(self, query: str, *values: object) -> list[dict[str, object]]:
        """Read what a test wants to see; the administrator sees all rows."""
        async with await self._connect() as conn, conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()

    async def write(self, query: str, *values: object) -> None:
        """Do what only time does otherwise."""
        async with await self._connect() as conn:
            await conn.execute(query.encode(), values)

    async def lose(self, image_id: str) -> None:
        """End the session that holds an image, and find the image as the housekeeper does."""
        await self.write(
            "UPDATE attempts SET began_step = true WHERE image_id = %s AND outcome IS NULL",
            image_id,
        )
        async with await self._connect() as conn:
            await conn.execute(
                "UPDATE worker_sessions SET end_time = now() WHERE session_id ="
                " (SELECT session_id FROM images WHERE image_id = %s)",
                [image_id],
            )
            for lost in await recovery.lost_attempts(conn, limit=100):
                await recovery.recover_lost(conn, lost)

    async def captures(self) -> list[tuple[object, object]]:
        """The images charged, and for how much."""
        rows = await self.rows(
            "SELECT image_id, amount_nanos FROM transfers WHERE tenant_id = %s AND kind = 'POST'"
            " ORDER BY image_id",
            self.tenant_id,
        )
        return [(row["image_id"], row["amount_nanos"]) for row in rows]

    async def violations(self) -> dict[str, int]:
        """The invariants of the whole database that do not hold."""
        async with await self._connect() as conn:
            counts = await check_invariants(conn)
        return {name: count for name, count in counts.items() if count}

    async def until_ended(self, job: Job, *, seconds: float = 2 * PATIENCE_SECONDS) -> Job:
        async def ended() -> Job | None:
            now = await self.job(job)
            return now if now.state in TERMINAL_JOB_STATES else None

        return await eventually(ended, seconds=seconds)

    async def until_state(
        self, image_id: str, state: ImageState, *, seconds: float = PATIENCE_SECONDS
    ) -> Image:
        async def reached() -> Image | None:
            now = await self.image(image_id)
            return now if now.state is state else None

        return await eventually(reached, seconds=seconds)

    async def _connect(self) -> AsyncConnection[TupleRow]:
        return await AsyncConnection[TupleRow].connect(self.postgres.admin_url)


async def open_studio(postgres: Postgres, tenant_id: str) -> Studio:
    """Make a tenant with credit, and a price of so much per image in its own price book."""
    tenant = TenantId(tenant_id)
    async with await AsyncConnection[TupleRow].connect(postgres.admin_url) as conn:
        await insert_tenant(
            conn,
            NewTenant(
                tenant_id=tenant, display_name="Studio", currency="EUR", price_book=tenant_id
            ),
        )
        await accounts.open_accounts(conn, tenant_id=tenant, currency="EUR")
        await ledger.grant_credit(
            conn,
            tenant_id=tenant,
            amount_nanos=CREDIT_NANOS,
            currency="EUR",
            description="welcome",
            request_id=None,
        )
        price = await insert_price_version(
            conn,
            price_book=tenant_id,
            effective_time=datetime.now(UTC) - timedelta(days=1),
            document=PriceDocument(
                currency="EUR",
                components=(
                    PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=PRICE_NANOS),
                ),
            ),
        )
    return Studio(postgres=postgres, tenant_id=tenant, price_id=price.price_id)


async def eventually(
    look: Callable[[], Awaitable[T | None]], *, seconds: float = PATIENCE_SECONDS, what: str = ""
) -> T:
    """Look until there is something to see."""
    deadline = time.monotonic() + seconds
    while (found := await look()) is None:
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or look.__qualname__}"
        await asyncio.sleep(0.05)
    return found


@dataclass(slots=True, kw_only=True)
class Process:
    """One of our processes, with its log in a file."""

    name: str
    environment: Mapping[str, str]
    log_path: Path
    # Another module than the process's own.
    module: str = ""
    _running: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        assert self._running is None
        with self.log_path.open("ab") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-m", self.module or f"services.{self.name}"],
                env={**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        assert self._running is not None
        self._running.send_signal(number)

    def kill(self) -> None:
        """End it like the kernel does when memory is short."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Ask it to end; returns its exit code."""
        self.send(signal.SIGTERM)
        return self.wait(seconds=seconds)

    def wait(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        assert self._running is not None
        code = self._running.wait(seconds)
        self._running = None
        return code

    @property
    def process_id(self) -> int:
        assert self._running is not None
        return self._running.pid

    @property
    def is_running(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def end(self) -> None:
        """At a test's end: whatever state it is in."""
        if self.is_running:
            self.send(signal.SIGCONT)
            self.kill()


def recorder_process(postgres: Postgres, directory: Path, **settings: object) -> Process:
    """The recorder of a directory: sockets in ``run``, pictures in ``spool`` and ``objects``."""
    environment = {
        "ATELIER_RECORDER_DATABASE_URL": postgres.url("atelier_recorder"),
        "ATELIER_RECORDER_METER_INTAKE_DATABASE_URL": postgres.url("atelier_meter_intake"),
        "ATELIER_RECORDER_RUN_DIRECTORY": str(directory),
        "ATELIER_RECORDER_SPOOL_DIRECTORY": str(directory / "spool"),
        "ATELIER_RECORDER_OBJECTS_URL": f"file://{directory / 'objects'}",
        **{f"ATELIER_RECORDER_{name.upper()}": str(value) for name, value in settings.items()},
    }
    return Process(name="recorder", environment=environment, log_path=directory / "recorder.log")


def make_tenant_directory(directory: Path, tenant_id: str) -> RunDirectory:
    """What the fleet does for a new tenant."""
    run = RunDirectory(directory)
    run.tenant_directory(tenant_id).mkdir(parents=True)
    return run


async def until_served(socket_path: Path, *, seconds: float = PATIENCE_SECONDS) -> None:
    async def served() -> bool | None:
        return await asyncio.to_thread(socket_path.is_socket) or None

    await eventually(served, seconds=seconds, what=str(socket_path))
