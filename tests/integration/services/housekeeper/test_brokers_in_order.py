"""Brokers whose keys hold other things than queues, or that hang: put in order, told, no harm."""

from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis

from database.pool import Pool
from services.dispatch.token_publisher import publish_tokens, queue_length
from services.housekeeper.broker_desk import BrokerDesk
from services.housekeeper.missing_tokens import MissingTokens
from services.transport.broker_places import BrokerPlaces
from tenants.run_directory import RunDirectory
from tests.integration.brokers import fill, running_broker
from tests.integration.fixture_types import Pools, Postgres
from tests.integration.installation import (
    MODEL,
    Studio,
    make_tenant_directory,
    open_studio,
    spec,
)
from tests.integration.services.recorder.refusal_counts import counts_of

pytestmark = pytest.mark.integration

# Refused, seen missing, and seen missing again.
SWEEPS = 4
BINDING = f"_kombu.binding.{MODEL}"


@dataclass(slots=True, kw_only=True)
class House:
    """Two tenants' brokers and the duty that looks after them."""

    pool: Pool
    brokers: BrokerPlaces
    ours: Studio
    theirs: Studio
    broker_of: dict[str, Redis] = field(default_factory=dict[str, Redis])

    @property
    def misused(self) -> Redis:
        return self.broker_of[self.ours.tenant_id]

    async def sweep(self, *, times: int = SWEEPS) -> None:
        housekeeper = MissingTokens(self.pool, brokers=self.brokers)
        for _ in range(times):
            await housekeeper.sweep()

    def tokens(self, studio: Studio) -> int:
        return queue_length(self.brokers, tenant_id=studio.tenant_id, model=MODEL)


@pytest.fixture
async def house(
    postgres: Postgres, fresh_tenant_id: str, short_directory: Path, pools: Pools
) -> AsyncGenerator[House]:
    run = RunDirectory(short_directory)
    ours = await open_studio(postgres, f"{fresh_tenant_id}-a")
    theirs = await open_studio(postgres, f"{fresh_tenant_id}-b")
    with ExitStack() as stack:
        async with pools("atelier_housekeeper") as pool:
            house = House(pool=pool, brokers=BrokerPlaces(run=run), ours=ours, theirs=theirs)
            for studio in (ours, theirs):
                make_tenant_directory(short_directory, studio.tenant_id)
                client = stack.enter_context(running_broker(run, studio.tenant_id))
                house.broker_of[studio.tenant_id] = client
                await studio.accept(spec(seed=1), spec(seed=2))
            yield house


def hog(broker: Redis) -> None:
    """Fill it with other databases, functions, results and what not."""
    broker.function_load("#!lua name=hog\nredis.register_function('hog', function() return 1 end)")
    broker.select(7)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    broker.rpush("hidden", *[b"x" * 64 * 1024] * 100)
    broker.select(0)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    broker.hset("celery-task-meta-1", mapping={str(number): "x" for number in range(10_000)})
    fill(broker)


def write_a_word(broker: Redis) -> None:
    broker.set(MODEL, "a word")


def write_a_huge_hash(broker: Redis) -> None:
    broker.hset(MODEL, mapping={str(number): "x" * 100 for number in range(10_000)})


def write_over_the_note(broker: Redis) -> None:
    broker.set(BINDING, "a word")


@pytest.mark.parametrize(
    "misuse",
    [
        write_a_word,
        write_a_huge_hash,
        write_over_the_note,
        hog,
    ],
    ids=["a word", "a huge hash", "the note of the queue", "full of other things"],
)
async def test_a_misused_broker_is_put_in_order_counted_and_served_again(
    house: House, misuse: Callable[[Redis], None]
) -> None:
    misuse(house.misused)

    await house.sweep()

    assert (house.tokens(house.ours), house.tokens(house.theirs)) == (2, 2)
    assert await counts_of(house.ours) == {"BROKER_KEYS": 1}
    assert await counts_of(house.theirs) == {}


async def test_keys_beside_the_queue_disturb_nobody_and_are_left_alone(house: House) -> None:
    house.misused.set("unacked", "a word")
    house.misused.set(f"{MODEL}\x06\x163", "a word")

    await house.sweep(times=2)

    assert (house.tokens(house.ours), house.tokens(house.theirs)) == (2, 2)
    assert await counts_of(house.ours) == {}
    assert house.misused.get("unacked") == b"a word"


async def test_a_broker_that_is_full_of_tokens_is_left_to_its_worker(house: House) -> None:
    desk = BrokerDesk(house.brokers)
    ours, theirs = house.ours.tenant_id, house.theirs.tenant_id
    publish_tokens(house.brokers, tenant_id=ours, model=MODEL, count=1000)
    fill(house.misused)

    await desk.publish({(ours, MODEL): 500, (theirs, MODEL): 3})

    # What had room before the refusal stays.
    assert 1000 <= house.tokens(house.ours) < 1500
    assert house.tokens(house.theirs) == 3
    assert not desk.put_in_order


async def test_a_broker_that_hangs_holds_up_nobody_and_is_left_alone_for_a_while(
    house: House,
) -> None:
    desk = BrokerDesk(house.brokers)
    ours, theirs = house.ours.tenant_id, house.theirs.tenant_id
    house.misused.client_pause(3000)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs

    hanging = await desk.lengths({ours: [MODEL], theirs: [MODEL]})
    # It answers again, and nobody asks yet.
    house.misused.ping()  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    left_alone = await desk.lengths({ours: [MODEL], theirs: [MODEL]})

    assert hanging[theirs, MODEL] == 0
    assert left_alone == {(theirs, MODEL): 0}
