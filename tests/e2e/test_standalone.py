"""`make up` as a person uses it: started, started twice, stopped, killed, started again."""

import json
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from tests.e2e.installations import StartUp, Up, answers, eventually, processes_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_it_ends_in_good_order_and_leaves_no_process_behind(
    start: StartUp, directory: Path
) -> None:
    up = start().runs()
    assert answers(up.address)
    assert len(processes_of(directory)) > 5

    code = up.stop()

    assert code == 0
    assert processes_of(directory) == []
    assert "killed" not in up.output()


def test_the_second_one_is_told_who_the_first_is(start: StartUp) -> None:
    first = start().runs()
    host, port = first.address

    second = start()

    assert second.process.wait(30) == 1
    assert f"process {first.process.pid}, gateway at {host}:{port}" in second.output()
    assert answers(first.address)


def test_a_taken_port_is_named_before_anything_starts(directory: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        up = Up(directory, port=port)

        assert up.process.wait(30) == 1
        assert f"127.0.0.1:{port} cannot be listened on" in up.output()
        assert processes_of(directory) == []


def test_after_kill_9_nothing_stays_and_the_next_one_has_the_same_data(
    start: StartUp, directory: Path
) -> None:
    first = start().runs()
    key = (directory / "data" / "operator.key").read_text()
    first.process.kill()
    first.process.wait()

    assert eventually(lambda: processes_of(directory) == [], seconds=30)

    start().runs()
    assert (directory / "data" / "operator.key").read_text() == key


def test_the_next_one_ends_what_even_the_kernel_left(start: StartUp, directory: Path) -> None:
    first = start().runs()
    stopped = psutil.Process(first.process_id("meter"))
    # A frozen process hears no signal but SIGKILL.
    stopped.suspend()
    first.process.kill()
    first.process.wait()

    second = start().runs()

    assert "of an installation that was killed" in second.output()
    assert not stopped.is_running()


def test_a_process_that_does_not_end_is_killed(start: StartUp, directory: Path) -> None:
    up = start().runs()
    psutil.Process(up.process_id("meter")).suspend()

    code = up.stop()

    assert code == 0
    assert "meter did not end in time and was killed" in up.output()
    assert processes_of(directory) == []


@pytest.mark.parametrize("name", ["gateway", "recorder", "postgres"])
def test_what_dies_is_started_again(start: StartUp, name: str) -> None:
    up = start().runs()
    before = up.process_id(name)

    os.kill(before, signal.SIGKILL)

    assert eventually(lambda: up.process_id(name) != before, seconds=20)
    assert eventually(lambda: answers(up.address), seconds=20)


def test_secrets_and_keys_are_for_their_owner_alone(start: StartUp, directory: Path) -> None:
    start().runs()

    data = directory / "data"
    private = [data / "operator.key", *(data / "secrets").iterdir()]
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}
    assert oct((data / "secrets").stat().st_mode & 0o777) == "0o700"
    assert json.loads((data / "standalone.lock").read_text())["pid"] > 0
