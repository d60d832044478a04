"""Tokens of another tenant and of images long drawn: each asks once, and nobody's picture moves."""

from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from services.dispatch.token_publisher import publish_tokens
from services.transport.broker_places import BrokerPlaces
from tenants.run_directory import RunDirectory
from tests.integration.brokers import running_broker
from tests.integration.fixture_types import Postgres
from tests.integration.installation import (
    MODEL,
    PRICE_NANOS,
    Studio,
    make_tenant_directory,
    open_studio,
    recorder_process,
    spec,
)
from tests.integration.services.recorder.refusal_counts import until_counted
from tests.integration.services.worker.token_worker import TokenWorker, token_worker

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A recorder, and a broker for each of two tenants."""

    run: RunDirectory
    ours: Studio
    theirs: Studio

    def publish(self, studio: Studio, count: int) -> None:
        brokers = BrokerPlaces(run=self.run)
        publish_tokens(brokers, tenant_id=studio.tenant_id, model=MODEL, count=count)

    def queue_of(self, studio: Studio) -> "redis.Redis":
        return redis.Redis(unix_socket_path=str(self.run.broker_socket(studio.tenant_id)))

    def tokens_of(self, studio: Studio) -> list[bytes]:
        """What lies in the queue, byte for byte."""
        tokens: Any = self.queue_of(studio).lrange(MODEL, 0, -1)
        return list(tokens)

    def worker_of(self, studio: Studio) -> AbstractAsyncContextManager[TokenWorker]:
        return token_worker(
            broker=BrokerPlaces(run=self.run).of(studio.tenant_id),
            recorder=self.run.recorder_socket(studio.tenant_id),
        )

    async def states_of(self, studio: Studio) -> list[object]:
        rows = await studio.rows("SELECT state FROM images WHERE tenant_id = %s", studio.tenant_id)
        return [row["state"] for row in rows]


@pytest.fixture
async def studios(postgres: Postgres, fresh_tenant_id: str) -> tuple[Studio, Studio]:
    return (
        await open_studio(postgres, f"{fresh_tenant_id}-a"),
        await open_studio(postgres, f"{fresh_tenant_id}-b"),
    )


@pytest.fixture
def host(
    postgres: Postgres, short_directory: Path, studios: tuple[Studio, Studio]
) -> Generator[Host]:
    ours, theirs = studios
    with ExitStack() as stack:
        for studio in studios:
            run = make_tenant_directory(short_directory, studio.tenant_id)
            stack.enter_context(running_broker(run, studio.tenant_id))
        recorder = recorder_process(postgres, short_directory, energy_wait_seconds=0.1)
        recorder.start()
        stack.callback(recorder.end)
        yield Host(run=RunDirectory(short_directory), ours=ours, theirs=theirs)


async def test_tokens_copied_from_another_tenants_queue_ask_once_each_and_draw_nothing(
    host: Host,
) -> None:
    await host.theirs.accept(spec(seed=1), spec(seed=2), spec(seed=3))
    host.publish(host.theirs, 3)
    copied = host.tokens_of(host.theirs)
    host.queue_of(host.ours).lpush(MODEL, *copied)

    async with host.worker_of(host.ours) as stranger:
        await stranger.until_asked(3)
        await until_counted(host.ours, {"EMPTY_CLAIM": 3})
        # Its own work goes on after them.
        await host.ours.accept(spec(seed=4))
        host.publish(host.ours, 1)
        await stranger.until_drawn(1)
    untouched = await host.states_of(host.theirs)
    async with host.worker_of(host.theirs) as owner:
        await owner.until_drawn(3)

    assert host.theirs.tenant_id.encode() not in b"".join(copied)
    assert untouched == ["QUEUED"] * 3
    assert await host.states_of(host.theirs) == ["SUCCEEDED"] * 3
    assert await host.ours.captures() == [(stranger.drawn_images[0], PRICE_NANOS)]
    assert await host.theirs.captures() == [
        (image, PRICE_NANOS) for image in sorted(owner.drawn_images)
    ]
    assert stranger.claim_count == 4
    await until_counted(host.theirs, {})


async def test_the_token_of_a_drawn_image_replayed_asks_once_and_charges_nothing(
    host: Host,
) -> None:
    await host.ours.accept(spec())
    host.publish(host.ours, 1)
    (token,) = host.tokens_of(host.ours)

    async with host.worker_of(host.ours) as worker:
        await worker.until_drawn(1)
        host.queue_of(host.ours).lpush(MODEL, *[token] * 3)
        await worker.until_asked(4)
        await until_counted(host.ours, {"EMPTY_CLAIM": 3})

    (image_id,) = worker.drawn_images
    assert (await host.ours.image(image_id)).attempt == 1
    assert await host.ours.captures() == [(image_id, PRICE_NANOS)]
    assert host.tokens_of(host.ours) == []
    assert await host.ours.violations() == {}
