"""Tokens over a real broker: published, counted, and refused in time when it is away."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.dispatch.errors import BrokerDownError
from services.dispatch.token_publisher import publish_tokens, queue_length
from services.fleet.broker import start_broker, stop_broker
from services.transport.broker_places import BrokerPlaces
from tenants.launchers.child_process import ChildProcess, kill_group, send
from tenants.run_directory import RunDirectory

pytestmark = pytest.mark.integration


@pytest.fixture
def run(short_directory: Path) -> RunDirectory:
    run = RunDirectory(short_directory)
    run.tenant_directory("acme").mkdir(parents=True)
    return run


def start(run: RunDirectory) -> ChildProcess:
    return start_broker(
        socket_path=run.broker_socket("acme"),
        data_directory=run.path / "broker",
        log_path=run.path / "broker.log",
        death_signal=signal.SIGTERM,
    )


def publish(run: RunDirectory, count: int, *, model: str = "mini") -> None:
    publish_tokens(BrokerPlaces(run=run), tenant_id="acme", model=model, count=count)


def length(run: RunDirectory, *, model: str = "mini") -> int:
    return queue_length(BrokerPlaces(run=run), tenant_id="acme", model=model)


def test_each_models_tokens_lie_in_a_queue_of_its_own(run: RunDirectory) -> None:
    broker = start(run)

    publish(run, 3)
    publish(run, 2, model="large")

    assert (length(run), length(run, model="large"), length(run, model="never-used")) == (3, 2, 0)
    stop_broker(broker)


def test_tokens_are_published_from_many_threads_at_once(run: RunDirectory) -> None:
    broker = start(run)

    with ThreadPoolExecutor(8) as threads:
        published = [threads.submit(publish, run, 25) for _ in range(16)]
    for future in published:
        future.result()

    assert length(run) == 400
    stop_broker(broker)


def test_tokens_survive_a_killed_broker_and_the_next_publish_finds_the_new_one(
    run: RunDirectory,
) -> None:
    broker = start(run)
    publish(run, 3)
    kill_group(broker)
    run.broker_socket("acme").unlink(missing_ok=True)
    broker = start(run)

    publish(run, 2)

    assert length(run) == 5
    stop_broker(broker)


def test_a_broker_that_is_not_there_is_told_at_once(run: RunDirectory) -> None:
    started = time.monotonic()

    with pytest.raises(BrokerDownError):
        publish(run, 1)
    with pytest.raises(BrokerDownError):
        length(run)

    assert time.monotonic() - started < 1.0


def test_a_frozen_broker_holds_a_publisher_for_seconds_only(run: RunDirectory) -> None:
    broker = start(run)
    publish(run, 1)
    send(broker, signal.SIGSTOP)
    started = time.monotonic()

    with pytest.raises(BrokerDownError):
        publish(run, 1)

    assert time.monotonic() - started < 10.0
    send(broker, signal.SIGCONT)
    stop_broker(broker)
