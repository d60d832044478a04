"""While PostgreSQL is away scrapes are answered, and nothing that only it knows is made up."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from database.pool import open_pool
from services.fleet.backlog import BacklogEstimate
from services.fleet.metrics import OpenWorkLook
from services.metrics.database_looks import DatabaseLook
from services.metrics.exposition import Exposition
from services.metrics.listener import serving_metrics
from tests.integration.fixture_types import Postgres
from tests.integration.installation import eventually, open_studio, spec
from tests.integration.services.metrics.relay import Relay
from tests.integration.services.metrics.scraping import Scrape, scrape

pytestmark = pytest.mark.integration


@pytest.fixture
async def relay(postgres: Postgres) -> AsyncGenerator[Relay]:
    async with Relay(postgres.url("atelier_fleet")) as relay:
        yield relay


async def until(look: Callable[[], Scrape], is_so: Callable[[Scrape], bool], what: str) -> Scrape:
    async def found() -> Scrape | None:
        one = await asyncio.to_thread(look)
        return one if is_so(one) else None

    return await eventually(found, what=what)


async def test_what_only_the_database_knows_is_left_out_while_it_is_away_and_comes_back(
    postgres: Postgres, relay: Relay, fresh_tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.metrics.database_looks._PERIOD_SECONDS", 0.2)
    studio = await open_studio(postgres, fresh_tenant_id)
    await studio.accept(spec())
    work = OpenWorkLook(BacklogEstimate(picture_seconds_before_measured=10), silence_seconds=30)
    look = DatabaseLook(work.read)
    exposition = Exposition("fleet")
    exposition.add("database", look.samples)
    queued = ("QUEUED", fresh_tenant_id)

    with serving_metrics(exposition, "127.0.0.1:0") as port:
        assert port is not None
        async with open_pool(relay.url, size_max=1) as pool, look.going_on(pool):

            def now() -> Scrape:
                return scrape(port)

            def is_up(found: Scrape) -> bool:
                return found.value("atelier_database_up") == 1

            before = await until(now, is_up, "PostgreSQL answers")
            await relay.cut()
            away = await until(now, lambda found: not is_up(found), "it is noticed")
            await relay.mend()
            after = await until(now, is_up, "PostgreSQL answers again")

    assert before.of("atelier_fleet_images")[queued] == 1
    assert away.of("atelier_fleet_images") == {}
    assert away.of("atelier_fleet_oldest_queued_timestamp_seconds") == {}
    assert away.value("atelier_metrics_source_failures_total", "database") == 0
    assert after.of("atelier_fleet_images")[queued] == 1
