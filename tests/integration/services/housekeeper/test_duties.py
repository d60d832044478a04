"""The housekeeper's duties on committed rows: a database of each test's own, and a real broker."""

import signal
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from database.migration_runner import migrate
from database.pool import Pool, open_pool, transaction
from database.server import url_for
from metering import accounts, ledger
from metering.price_book import insert_price_version
from metering.price_document import Component, PriceComponent, PriceDocument, Tier
from services.dispatch.token_publisher import publish_tokens, queue_length
from services.fleet.broker import start_broker, stop_broker
from services.housekeeper.invariant_watch import InvariantWatch
from services.housekeeper.lost_work import LostWork
from services.housekeeper.missing_tokens import MissingTokens
from services.jobs import claims, job_store, worker_session_store
from services.jobs.records import ClaimedImage, ImageSpec, NewImage, NewJob, WorkerIdentity
from services.jobs.worker_session_store import Heartbeat
from services.transport.broker_places import BrokerPlaces
from tenants.ids import GpuId, KeyId, SessionId, TenantId
from tenants.run_directory import RunDirectory
from tenants.tenant_store import NewTenant, insert_tenant
from tests.integration.fixture_types import PASSWORD

ACME = TenantId("acme")
MODEL = "mini"
WORKER = WorkerIdentity(session_id=SessionId("s1"), gpu_id=GpuId("cpu-0"), model=MODEL)
PRICE = PriceDocument(
    currency="EUR",
    components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=10_000_000),),
)
SPEC = ImageSpec(
    model=MODEL,
    prompt="a red mug",
    negative_prompt="",
    width=64,
    height=64,
    num_inference_steps=4,
    guidance_scale=4.5,
    seed=1,
    max_sequence_length=77,
    output_format="PNG",
    output_quality=90,
)


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A tenant with queued images, and the housekeeper's pool."""

    administrator: Pool
    pool: Pool
    brokers: BrokerPlaces

    async def claim(self, *, waiting_tokens: int = 0) -> ClaimedImage:
        async with transaction(self.administrator) as connection:
            await worker_session_store.heartbeat(
                connection,
                Heartbeat(
                    worker=WORKER,
                    process_id=1,
                    ready=True,
                    waiting_tokens=waiting_tokens,
                    batch_slots_free=1,
                    interactive_slots_free=1,
                    engine_step_counter=0,
                    running=(),
                ),
                tenant_id=ACME,
                lease_seconds=60.0,
            )
            claimed = await claims.claim_image(
                connection, WORKER, tenant_id=ACME, interactive_only=False, nothing_in_flight=True
            )
        assert claimed is not None
        return claimed

    async def claim_and_fall_silent(self) -> None:
        await self.claim()
        async with self.administrator.connection() as connection:
            await connection.execute(
                b"UPDATE worker_sessions SET lease_expire_time = now() - interval '1 s'"
            )

    async def states(self) -> list[str]:
        async with self.administrator.connection() as connection:
            rows = await connection.execute(b"SELECT state FROM images ORDER BY image_number")
            return [row[0] for row in await rows.fetchall()]

    def tokens(self) -> int:
        return queue_length(self.brokers, tenant_id=ACME, model=MODEL)


@pytest.fixture
def run(short_directory: Path) -> Generator[RunDirectory]:
    run = RunDirectory(short_directory)
    run.tenant_directory(ACME).mkdir(parents=True)
    broker = start_broker(
        socket_path=run.broker_socket(ACME),
        data_directory=short_directory / "broker",
        log_path=short_directory / "broker.log",
        death_signal=signal.SIGTERM,
    )
    yield run
    stop_broker(broker)


@pytest.fixture
async def house(fresh_database: str, run: RunDirectory) -> AsyncGenerator[House]:
    migrate(fresh_database, role_passwords={"atelier_housekeeper": PASSWORD})
    async with (
        open_pool(fresh_database, size_max=2) as administrator,
        open_pool(
            url_for(fresh_database, user="atelier_housekeeper", password=PASSWORD), size_max=2
        ) as pool,
    ):
        await accept_job(administrator, images=3)
        yield House(administrator=administrator, pool=pool, brokers=BrokerPlaces(run=run))


async def accept_job(pool: Pool, *, images: int) -> None:
    async with transaction(pool) as connection:
        await insert_tenant(
            connection, NewTenant(tenant_id=ACME, display_name="Acme", currency="EUR")
        )
        await accounts.open_accounts(connection, tenant_id=ACME, currency="EUR")
        await ledger.grant_credit(
            connection,
            tenant_id=ACME,
            amount_nanos=1_000_000_000,
            currency="EUR",
            description="welcome",
            request_id=None,
        )
        price = await insert_price_version(
            connection, price_book="standard", effective_time=datetime.now(UTC), document=PRICE
        )
        image = NewImage(spec=SPEC, hold_nanos=10_000_000, labels={})
        await job_store.create_job(
            connection,
            NewJob(
                tenant_id=ACME,
                key_id=KeyId("k1"),
                display_name="",
                tier=Tier.BATCH,
                project="",
                labels={},
                price_id=price.price_id,
                currency="EUR",
                images=(image,) * images,
            ),
        )


async def test_an_image_whose_worker_lost_its_lease_is_queued_again(house: House) -> None:
    clock = Clock()
    lost_work = LostWork(house.pool, lease_seconds=0.1, clock=clock)
    await house.claim_and_fall_silent()

    clock.now += 1.0
    await lost_work.sweep()

    assert await house.states() == ["QUEUED", "QUEUED", "QUEUED"]


async def test_an_image_whose_worker_lives_stays_with_it(house: House) -> None:
    clock = Clock()
    lost_work = LostWork(house.pool, lease_seconds=0.1, clock=clock)
    await house.claim()

    clock.now += 1.0
    await lost_work.sweep()

    assert sorted(await house.states()) == ["QUEUED", "QUEUED", "RUNNING"]


async def test_no_lease_is_lost_before_the_housekeeper_has_watched_for_one(house: House) -> None:
    clock = Clock()
    lost_work = LostWork(house.pool, lease_seconds=5.0, clock=clock)
    await house.claim_and_fall_silent()

    clock.now += 4.9
    await lost_work.sweep()

    assert "RUNNING" in await house.states()


async def test_a_gap_in_its_watch_begins_the_watch_anew(house: House) -> None:
    clock = Clock()
    lost_work = LostWork(house.pool, lease_seconds=0.1, clock=clock)
    await house.claim_and_fall_silent()

    clock.now += 3600.0
    await lost_work.sweep()
    after_the_gap = await house.states()
    clock.now += 2.0
    await lost_work.sweep()

    assert "RUNNING" in after_the_gap
    assert await house.states() == ["QUEUED", "QUEUED", "QUEUED"]


async def test_tokens_that_a_broker_lost_are_replaced_at_the_second_look(house: House) -> None:
    missing_tokens = MissingTokens(house.pool, brokers=house.brokers)

    await missing_tokens.sweep()
    at_first = house.tokens()
    await missing_tokens.sweep()

    assert (at_first, house.tokens()) == (0, 3)


async def test_only_what_is_missing_is_published(house: House) -> None:
    missing_tokens = MissingTokens(house.pool, brokers=house.brokers)
    publish_tokens(house.brokers, tenant_id=ACME, model=MODEL, count=2)

    for _ in range(4):
        await missing_tokens.sweep()

    assert house.tokens() == 3


async def test_tokens_that_wait_in_a_workers_threads_are_not_missing(house: House) -> None:
    missing_tokens = MissingTokens(house.pool, brokers=house.brokers)
    await house.claim(waiting_tokens=2)

    for _ in range(3):
        await missing_tokens.sweep()

    assert house.tokens() == 0


async def test_a_violated_invariant_is_an_error_in_the_log(
    house: House, fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = InvariantWatch(house.pool)
    await watch.check()
    before = capsys.readouterr().out
    with psycopg.connect(conninfo.make_conninfo(fresh_database)) as administrator:
        administrator.execute(b"SET session_replication_role = replica")
        administrator.execute(b"UPDATE jobs SET queued_count = 2, failed_count = 1")

    await watch.check()

    assert "invariant_violated" not in before
    assert "job_counters_differ" in capsys.readouterr().out
