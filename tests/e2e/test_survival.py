"""Whatever dies under a studio's job: the job finishes, and each of its images is billed once.

One installation for all, seen by the SDK from outside; each fault has a small job of its own.
"""

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psutil
import pytest
from psycopg import AsyncConnection
from redis import Redis

import atelier
from atelier.errors import DatabaseDownError
from atelier.retries import NO_RETRIES
from atelier.v1.image_pb2 import Image, ImageSpec, ImageState, Tier
from atelier.v1.job_service_pb2 import Job, JobSpec, JobState, WatchJobResponse
from metering.energy_hours import reconciliations
from services.standalone.directories import DataDirectory, make_run_directory
from services.standalone.embedded_postgres import ADMINISTRATOR, DATABASE
from tenants.ids import PriceId, TenantId
from tenants.run_directory import RunDirectory
from tests.e2e.installations import Up, processes_of
from tests.e2e.studios import address_of, open_studio
from tests.integration.fixture_types import Postgres
from tests.integration.installation import Studio, eventually
from tests.integration.small_disk import fill, small_disk

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

TENANT = "acme"
MODEL = "small"
CATALOGUE = f"""\
[{MODEL}]
display_name = "Small"
source = "random-checkpoint"
precision = "fp32"
width = {{ min = 64, max = 256, default = 64 }}
height = {{ min = 64, max = 256, default = 64 }}
pixels_max = 65536
num_inference_steps = {{ min = 1, max = 200, default = 4 }}
guidance_scale = {{ min = 0.0, max = 10.0, default = 4.5 }}
max_sequence_length = {{ min = 16, max = 77, default = 77 }}
batch_slots = 2
interactive_slots = 1
"""
# Long enough to do something to it while it is drawn.
SLOW = ImageSpec(prompt="a red mug", width=64, height=64, num_inference_steps=60)
QUICK = ImageSpec(prompt="a blue vase", width=64, height=64, num_inference_steps=2)
# The first job of all waits for a worker that loads the model; a busy machine is slow.
PATIENCE_SECONDS = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An installation, and what only its machine's owner can see and do."""

    up: Up
    data: DataDirectory
    run: RunDirectory
    studio: Studio

    async def kill(self, name: str) -> None:
        """Kill one of the processes, and wait until another took its place."""
        before = self.process_id(name)
        os.kill(before, signal.SIGKILL)
        await self.replaced(name, before)

    def process_id(self, name: str) -> int:
        """Of the newest process of that name; the worker is the fleet's child."""
        if name == "worker":
            return self.noted_process_id("workers", "cpu-0")
        return self.up.process_id(name)

    async def replaced(self, name: str, before: int) -> None:
        """Wait until another process took the place of one that ended."""

        async def another() -> bool | None:
            with suppress(FileNotFoundError):
                return self.process_id(name) != before or None
            return None

        await eventually(another, seconds=PATIENCE_SECONDS, what=f"another {name}")

    def noted_process_id(self, kind: str, name: str) -> int:
        """What the fleet notes of one of its own children."""
        note = self.run.fleet_directory / kind / f"{name}.json"
        noted = json.loads(note.read_text())
        return int(noted.get("started", noted)["child"]["pid"])

    @staticmethod
    @contextmanager
    def frozen(process_id: int) -> Generator[None]:
        os.kill(process_id, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process_id, signal.SIGCONT)

    async def lose_tokens(self) -> None:
        """Take the queue out of the broker, once the gateway has put something into it."""
        with Redis(unix_socket_path=str(self.run.broker_socket(TENANT))) as broker:

            async def lost() -> bool | None:
                return await asyncio.to_thread(broker.delete, MODEL) == 1 or None

            await eventually(lost, what="a queue with tokens")

    def log(self, name: str) -> str:
        file = f"worker-{TENANT}-cpu-0" if name == "worker" else name
        return (self.data.logs / f"{file}.log").read_text()

    def spooled(self) -> list[Path]:
        return list(self.data.spool.iterdir())

    async def nothing_spooled(self) -> bool | None:
        """All that was accepted has arrived in the object store."""
        return not self.spooled() or None

    async def residuals(self) -> dict[str, int]:
        """The millijoules that a counter shows and nobody was booked for, by device."""
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        async with await AsyncConnection.connect(self.studio.postgres.admin_url) as conn:
            hours = await reconciliations(
                conn, since_hour=hour - timedelta(hours=1), until_hour=hour + timedelta(hours=1)
            )
        assert any(one.images_millijoules for one in hours)
        return {one.gpu_id: one.residual_millijoules for one in hours if one.residual_millijoules}


@pytest.fixture(scope="module")
def site() -> Generator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="atelier-up-"))
    directory.chmod(0o755)
    (directory / "models.toml").write_text(CATALOGUE)
    up = Up(directory).runs()
    data = DataDirectory(directory / "data")
    run = make_run_directory(data.path)
    password = (data.secrets / "postgres_administrator").read_text().strip()
    postgres = Postgres(
        admin_url=f"postgresql://{ADMINISTRATOR}:{password}@/{DATABASE}"
        f"?host={run.path / 'postgres'}&port=5432"
    )
    studio = Studio(postgres=postgres, tenant_id=TenantId(TENANT), price_id=PriceId(""))
    yield Site(up=up, data=data, run=run, studio=studio)
    up.process.send_signal(signal.SIGCONT)
    up.stop()
    for process in processes_of(directory):
        process.kill()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def api_key(site: Site) -> str:
    return open_studio(site.up, TENANT)


@pytest.fixture
async def client(site: Site, api_key: str) -> AsyncGenerator[atelier.AsyncClient]:
    async with atelier.AsyncClient(address_of(site.up), api_key=api_key) as client:
        yield client


async def order(client: atelier.AsyncClient, spec: ImageSpec, *, count: int) -> Job:
    return await client.order_job([JobSpec(image=spec, count=count)], tier=Tier.TIER_BATCH)


class Watcher:
    """A client that watches a job from its beginning to its end."""

    def __init__(self, client: atelier.AsyncClient, job: Job) -> None:
        self.news: list[WatchJobResponse] = []
        self._drawing = asyncio.Event()
        self._watch = asyncio.create_task(self._listen(client, job))

    async def until_drawing(self) -> None:
        """Wait until a step of an image has begun."""
        drawing = asyncio.create_task(self._drawing.wait())
        await asyncio.wait(
            {drawing, self._watch}, timeout=PATIENCE_SECONDS, return_when="FIRST_COMPLETED"
        )
        assert self._drawing.is_set(), self.news

    async def until_finished(self) -> Job:
        await asyncio.wait_for(self._watch, PATIENCE_SECONDS)
        return next(news.job for news in reversed(self.news) if news.HasField("job"))

    def image_states(self) -> list[tuple[str, str]]:
        """What was told of images, in order: id and state."""
        told = [news.image for news in self.news if news.HasField("image")]
        return [
            (
                image.name.rpartition("/")[2],
                ImageState.Name(image.state).removeprefix("IMAGE_STATE_"),
            )
            for image in told
        ]

    async def _listen(self, client: atelier.AsyncClient, job: Job) -> None:
        """Listen to the end: one that goes on begins with the job, which may be over by then."""
        async with aclosing(client.watch_job(job.name)) as watch:
            async for news in watch:
                self.news.append(news)
                if news.HasField("progress") and news.progress.step > 0:
                    self._drawing.set()


async def drawing(client: atelier.AsyncClient) -> tuple[Job, Watcher]:
    """Order a job that is watched, and wait until it is being drawn."""
    job = await order(client, SLOW, count=4)
    watcher = Watcher(client, job)
    await watcher.until_drawing()
    return job, watcher


async def assert_survived(site: Site, client: atelier.AsyncClient, job: Job) -> list[Image]:
    """Each image came and is billed once; nothing else in the installation is out of order."""
    ended = await asyncio.wait_for(client.wait_for_job(job.name), PATIENCE_SECONDS)
    assert ended.state == JobState.JOB_STATE_SUCCEEDED
    assert ended.succeeded_count == ended.image_count == job.image_count
    images = [image async for image in client.list_images(job.name)]
    assert {image.state for image in images} == {ImageState.IMAGE_STATE_SUCCEEDED}
    assert all([await client.download_image(image.name) for image in images])
    billed = await site.studio.rows(
        "SELECT image_id FROM usage_records WHERE job_id = %s AND outcome = 'SUCCEEDED'",
        job_id(job),
    )
    assert sorted(str(row["image_id"]) for row in billed) == sorted(
        image.name.rpartition("/")[2] for image in images
    )
    assert await site.studio.rows("SELECT 1 FROM images WHERE end_time IS NULL") == []
    assert await site.studio.violations() == {}
    return images


def job_id(job: Job) -> str:
    return job.name.rpartition("/")[2]


async def attempt_outcomes(site: Site, job: Job) -> list[object]:
    rows = await site.studio.rows("SELECT outcome FROM attempts WHERE job_id = %s", job_id(job))
    return [row["outcome"] for row in rows]


async def kill_postgresql(postmaster: int) -> None:
    """Kill it, and wait until its sessions noticed: they answer for a moment longer."""
    sessions = psutil.Process(postmaster).children()
    os.kill(postmaster, signal.SIGKILL)

    async def ended() -> bool | None:
        return not any(map(is_alive, sessions)) or None

    await eventually(ended, what="sessions of PostgreSQL that ended")


def is_alive(process: psutil.Process) -> bool:
    """Tell it from a zombie, which waits for a parent that may be frozen."""
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def refusing_object_store(site: Site) -> Generator[None]:
    """Have a file lie where the folder of the objects was: even root cannot make folders in it."""
    away = site.data.objects.with_name("objects-away")
    site.data.objects.rename(away)
    site.data.objects.touch()
    try:
        yield
    finally:
        site.data.objects.unlink()
        away.rename(site.data.objects)


async def test_a_watch_goes_on_without_gaps_when_the_gateway_is_killed(
    site: Site, client: atelier.AsyncClient
) -> None:
    job, watcher = await drawing(client)

    await site.kill("gateway")

    assert (await watcher.until_finished()).state == JobState.JOB_STATE_SUCCEEDED
    events = await site.studio.rows(
        "SELECT image_id, image_state FROM job_events WHERE job_id = %s"
        " AND kind = 'IMAGE_STATE' ORDER BY event_number",
        job_id(job),
    )
    assert watcher.image_states() == [(row["image_id"], row["image_state"]) for row in events]
    await assert_survived(site, client, job)
    assert await attempt_outcomes(site, job) == ["SUCCEEDED"] * 4


async def test_images_do_not_wait_for_a_meter_that_was_killed(
    site: Site, client: atelier.AsyncClient
) -> None:
    job, _ = await drawing(client)

    await site.kill("meter")

    await assert_survived(site, client, job)
    assert await attempt_outcomes(site, job) == ["SUCCEEDED"] * 4
    receipts = await site.studio.rows(
        "SELECT DISTINCT energy_source FROM usage_records WHERE job_id = %s", job_id(job)
    )
    # What the meter did not live to tell is never made up.
    assert {row["energy_source"] for row in receipts} <= {"ESTIMATED", "PARTIAL"}
    assert await site.residuals() == {}


async def test_a_housekeeper_that_was_killed_comes_back_and_replaces_lost_tokens(
    site: Site, client: atelier.AsyncClient
) -> None:
    await assert_survived(site, client, await order(client, QUICK, count=1))
    replaced_before = site.log("housekeeper").count("tokens_replaced")

    os.kill(site.up.process_id("housekeeper"), signal.SIGKILL)
    # A frozen worker fetches no tokens, so there are some to lose.
    with site.frozen(site.process_id("worker")):
        job = await order(client, QUICK, count=6)
        await site.lose_tokens()

    await assert_survived(site, client, job)
    assert site.log("housekeeper").count("tokens_replaced") > replaced_before


async def test_the_fleet_replaces_a_broker_that_was_killed(
    site: Site, client: atelier.AsyncClient
) -> None:
    job, _ = await drawing(client)
    before = site.noted_process_id("brokers", TENANT)

    os.kill(before, signal.SIGKILL)

    await assert_survived(site, client, job)
    # The images it had given out may have been all there were.
    again = await order(client, QUICK, count=2)
    await assert_survived(site, client, again)
    assert site.noted_process_id("brokers", TENANT) != before


async def test_every_session_of_postgresql_ended_at_once_costs_only_time(
    site: Site, client: atelier.AsyncClient
) -> None:
    job, watcher = await drawing(client)

    ended = await site.studio.rows(
        "SELECT application_name, pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )

    assert {"gateway", "recorder", "housekeeper"} <= {row["application_name"] for row in ended}
    assert (await watcher.until_finished()).state == JobState.JOB_STATE_SUCCEEDED
    await assert_survived(site, client, job)


async def has_gone(process: psutil.Process) -> bool | None:
    """Whether it has ended and its parent has collected it."""
    return None if process.is_running() else True


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("name", "last_words", "limit_seconds"),
    [
        ("gateway", '"event": "gateway_ended"', 20),
        ("recorder", '"event": "ended"', 10),
        ("meter", '"event": "ended"', 10),
        ("housekeeper", '"event": "housekeeper_ended"', 10),
        # It ends what it started: the worker has most of this time to finish its images.
        ("fleet", '"event": "fleet_ended"', 20),
        # It draws what it has begun to the end first: 5 s on idle cores, six times that beside
        # other work. Its own limit is 100 s (ATELIER_WORKER_DRAIN_SECONDS), the fleet's 120.
        ("worker", '"event": "drained"', 100),
    ],
)
async def test_sigterm_lets_each_process_end_by_itself_and_costs_no_image(
    site: Site, client: atelier.AsyncClient, name: str, last_words: str, limit_seconds: int
) -> None:
    job, _ = await drawing(client)
    process = psutil.Process(site.process_id(name))
    said_before = site.log(name).count(last_words)

    process.terminate()

    # Whoever takes longer is killed by the supervisor, or by the fleet, and says no last words.
    what = f"{name}'s end, a child of {process.ppid()}"
    await eventually(partial(has_gone, process), seconds=limit_seconds, what=what)
    assert site.log(name).count(last_words) == said_before + 1
    await site.replaced(name, process.pid)
    await assert_survived(site, client, job)
    assert "LOST" not in await attempt_outcomes(site, job)


async def test_without_postgresql_calls_say_so_and_the_job_finishes_when_it_is_back(
    site: Site, client: atelier.AsyncClient, api_key: str
) -> None:
    job, watcher = await drawing(client)
    postmaster = site.up.process_id("postgres")

    # A supervisor that is frozen starts nothing again, however long the calls take.
    with site.frozen(site.up.process.pid):
        await kill_postgresql(postmaster)
        async with atelier.AsyncClient(
            address_of(site.up), api_key=api_key, retry_policy=NO_RETRIES
        ) as impatient:
            refusals = await asyncio.gather(
                order(impatient, QUICK, count=1),
                impatient.get_job(job.name),
                return_exceptions=True,
            )

    assert [type(refusal) for refusal in refusals] == [DatabaseDownError] * 2
    assert (await watcher.until_finished()).state == JobState.JOB_STATE_SUCCEEDED
    assert site.up.process_id("postgres") != postmaster
    await assert_survived(site, client, job)
    # The order that was refused left nothing behind.
    jobs = [one.name async for one in client.list_jobs()]
    assert jobs.index(job.name) == 0


async def test_pictures_wait_in_the_spool_while_the_object_store_refuses(
    site: Site, client: atelier.AsyncClient
) -> None:
    await eventually(site.nothing_spooled, seconds=PATIENCE_SECONDS, what="an empty spool")
    with refusing_object_store(site):
        # Who starts now must not fail for it either.
        await site.kill("recorder")
        await site.kill("gateway")
        job = await order(client, QUICK, count=3)

        images = await assert_survived(site, client, job)
        early = {image.name: await client.download_image(image.name) for image in images}
        assert len(site.spooled()) == 3

    await eventually(site.nothing_spooled, seconds=PATIENCE_SECONDS, what="an empty spool")
    assert {name: await client.download_image(name) for name in early} == early
    await assert_survived(site, client, job)
    assert await attempt_outcomes(site, job) == ["SUCCEEDED"] * 3


async def test_a_full_disk_holds_pictures_up_and_loses_none(
    site: Site, client: atelier.AsyncClient
) -> None:
    await assert_survived(site, client, await order(client, QUICK, count=1))
    with small_disk(site.data.spool):
        rubbish = fill(site.data.spool)
        job = await order(client, QUICK, count=6)

        async def refused() -> bool | None:
            return "No space left on device" in site.log("recorder") or None

        await eventually(refused, seconds=PATIENCE_SECONDS, what="a refusal")
        rubbish.unlink()

        await assert_survived(site, client, job)
        await eventually(site.nothing_spooled, seconds=PATIENCE_SECONDS, what="an empty spool")

    assert await attempt_outcomes(site, job) == ["SUCCEEDED"] * 6
