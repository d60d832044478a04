"""A tenant's broker, started for real."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from services.fleet.broker import start_broker, stop_broker
from tenants.launchers.child_process import is_running, wait_for_end
from tests.integration.fixture_types import Broker


def ask(broker: Broker, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(broker.socket_path))
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(4096).decode()


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG GET dir",
        "MODULE LIST",
        "REPLICAOF NO ONE",
        "SHUTDOWN NOSAVE",
        "ACL WHOAMI",
        "SAVE",
        "MONITOR",
    ],
)
def test_what_would_reach_beyond_the_queue_is_refused(broker: Broker, command: str) -> None:
    answer = ask(broker, command)

    assert answer.startswith("-NOPERM")


def test_debug_is_refused_before_it_is_asked_who_may(broker: Broker) -> None:
    answer = ask(broker, "DEBUG SLEEP 0")

    assert answer.startswith("-ERR DEBUG command not allowed")


def test_it_has_a_limit_of_memory_and_refuses_instead_of_forgetting(broker: Broker) -> None:
    answer = ask(broker, "INFO memory")

    assert "maxmemory:33554432\r\n" in answer
    assert "maxmemory_policy:noeviction\r\n" in answer


def test_tokens_survive_kill_9_of_the_broker(broker: Broker) -> None:
    ask(broker, "RPUSH sd35 token")
    # The append-only file is written to the disk each second.
    time.sleep(1.2)
    os.kill(broker.child.pid, signal.SIGKILL)
    wait_for_end(broker.child, timeout_seconds=5)

    again = start_broker(
        socket_path=broker.socket_path,
        data_directory=broker.data_directory,
        log_path=broker.data_directory / "again.log",
        death_signal=signal.SIGTERM,
    )

    assert ask(broker, "LRANGE sd35 0 -1") == "*1\r\n$5\r\ntoken\r\n"
    stop_broker(again)


def test_its_environment_stays_readable_for_who_looks_for_leftovers(broker: Broker) -> None:
    environment = Path(f"/proc/{broker.child.pid}/environ").read_bytes()

    assert environment.startswith(b"PATH=")


def test_stopping_leaves_no_process(broker: Broker) -> None:
    stop_broker(broker.child)

    assert not is_running(broker.child)
