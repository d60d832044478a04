"""Whatever lies in a tenant's queue costs at most one question, and its worker goes on."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import redis

from services.dispatch.celery_app import RENDER_IMAGE, tenant_app
from services.transport.broker_places import BrokerPlace
from services.worker.consumer import Consumer
from tests.integration.fixture_types import Broker
from tests.integration.installation import eventually

QUEUE = "tiny"


@dataclass(slots=True, kw_only=True)
class Claims:
    """Counts what the worker would ask the recorder."""

    count: int = 0
    consumer: Consumer = field(init=False)

    def render_image(self) -> None:
        self.count += 1

    async def until(self, count: int, *, garbage: int) -> None:
        async def so_many() -> bool | None:
            found = (self.count, self.consumer.garbage_count)
            return found == (count, garbage) or None

        await eventually(so_many, what=f"{count} claims and {garbage} pieces of garbage")


async def until_turned(consumer: Consumer, *, turns: int) -> None:
    before = consumer.turns

    async def turned() -> bool | None:
        return consumer.turns >= before + turns or None

    await eventually(turned, what=f"{turns} turns of the consumer")


@pytest.fixture
async def claims(broker: Broker) -> AsyncGenerator[Claims]:
    claims = Claims()
    claims.consumer = Consumer(
        broker=broker.place, queue=QUEUE, threads=2, render_image=claims.render_image
    )
    claims.consumer.start()
    yield claims
    await asyncio.to_thread(claims.consumer.stop)


@pytest.fixture
def queue(broker: Broker) -> "redis.Redis":
    return redis.Redis(unix_socket_path=str(broker.socket_path))


def genuine_token(broker: Broker, queue: "redis.Redis") -> dict[str, Any]:
    """Publish a token where nobody fetches it, and take it out as it lies there."""
    app = tenant_app(broker.place)
    app.send_task(RENDER_IMAGE, queue="elsewhere", priority=0)
    raw: Any = queue.rpop("elsewhere")
    token: dict[str, Any] = json.loads(raw)
    return token


def with_headers(token: dict[str, Any], **headers: object) -> str:
    return json.dumps(token | {"headers": token["headers"] | headers})


async def test_a_forged_a_replayed_and_a_loaded_token_each_ask_once(
    broker: Broker, queue: "redis.Redis", claims: Claims
) -> None:
    token = genuine_token(broker, queue)
    messages = [
        *[json.dumps(token)] * 3,
        # Arguments, a callback, a deadline long past, one far ahead, another encoding.
        json.dumps(token | {"body": b64encode(b'[["x"], {"image": "another"}, {}]').decode()}),
        json.dumps(
            token | {"body": b64encode(b'[[], {}, {"callbacks": [{"task": "x"}]}]').decode()}
        ),
        with_headers(token, expires="2001-01-01T00:00:00+00:00"),
        with_headers(token, eta="2999-01-01T00:00:00+00:00"),
        with_headers(token, id={"not": "hashable"}, timelimit="none", retries=[]),
        json.dumps(token | {"content-type": "application/x-python-serialize", "body": "Y29z"}),
        json.dumps(token | {"body": 5}),
        json.dumps(token | {"properties": 5}),
        json.dumps({"headers": {"task": RENDER_IMAGE}}),
    ]

    queue.lpush(QUEUE, *messages)

    await claims.until(len(messages), garbage=0)
    assert claims.consumer.is_alive
    assert not queue.exists("unacked")


async def test_garbage_is_counted_asks_nothing_and_a_genuine_token_runs_after_each(
    broker: Broker, queue: "redis.Redis", claims: Claims
) -> None:
    token = json.dumps(genuine_token(broker, queue))
    garbage = [
        b"garbage",
        b"",
        b"\xff\x00\xfe",
        b"{}",
        b"[]",
        b"5",
        b"null",
        b"[" * 50_000,
        b"[[[[",
        b'{"__type__": "datetime", "__value__": 5}',
        b'{"headers": {"task": ["' + RENDER_IMAGE.encode() + b'"]}}',
        b'{"task": "' + RENDER_IMAGE.encode() + b'", "id": "1", "args": [], "kwargs": {}}',
        with_headers(json.loads(token), task="os.system"),
        json.dumps(json.loads(token) | {"headers": {}}),
        json.dumps(json.loads(token) | {"headers": None}),
    ]

    for number, message in enumerate(garbage, start=1):
        queue.lpush(QUEUE, message)
        queue.lpush(QUEUE, token)
        await claims.until(number, garbage=number)

    assert claims.consumer.is_alive
    assert (queue.llen(QUEUE), queue.exists("unacked")) == (0, 0)


async def test_something_else_in_the_queues_place_is_taken_away_and_the_next_token_runs(
    broker: Broker, queue: "redis.Redis", claims: Claims
) -> None:
    token = json.dumps(genuine_token(broker, queue))
    await until_turned(claims.consumer, turns=2)
    queue.set(QUEUE, "a word")
    await claims.until(0, garbage=1)

    queue.lpush(QUEUE, token)

    await claims.until(1, garbage=1)
    assert claims.consumer.is_alive


async def test_a_worker_starts_beside_whatever_an_earlier_one_left_in_its_broker(
    broker: Broker, queue: "redis.Redis"
) -> None:
    token = json.dumps(genuine_token(broker, queue))
    for key in (f"_kombu.binding.{QUEUE}", "unacked", "unacked_index", "unacked_mutex"):
        queue.set(key, "a word")
    queue.lpush(QUEUE, token)
    claims = Claims()
    claims.consumer = Consumer(
        broker=broker.place, queue=QUEUE, threads=1, render_image=claims.render_image
    )

    claims.consumer.start()

    await claims.until(1, garbage=1)
    await asyncio.to_thread(claims.consumer.stop)


async def test_a_consumer_comes_round_while_every_thread_of_it_draws(
    broker: Broker, queue: "redis.Redis"
) -> None:
    drawn, held = Event(), Event()

    def draw_long() -> None:
        held.set()
        drawn.wait()

    consumer = Consumer(broker=broker.place, queue=QUEUE, threads=1, render_image=draw_long)
    consumer.start()
    queue.lpush(QUEUE, *[json.dumps(genuine_token(broker, queue))] * 3)
    assert await asyncio.to_thread(held.wait, 60)

    await until_turned(consumer, turns=2)

    drawn.set()
    await asyncio.to_thread(consumer.stop)


async def test_a_consumer_without_a_broker_is_seen_to_try_again(tmp_path: Path) -> None:
    nowhere = BrokerPlace(listens_at=tmp_path / "nothing.sock")
    consumer = Consumer(broker=nowhere, queue=QUEUE, threads=1, render_image=Claims().render_image)
    consumer.start()

    await until_turned(consumer, turns=2)

    assert consumer.is_alive
    await asyncio.to_thread(consumer.stop)
