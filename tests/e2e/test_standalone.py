"""`make up` as a person uses it: started, started twice, stopped, killed, started again."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest

from services.standalone.directories import make_run_directory
from tenants.run_directory import RUN_DIRECTORY_VARIABLE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

# No tenant, so no worker: the model is never loaded and may be anywhere.
CATALOGUE = """\
[nothing]
display_name = "Never loaded"
source = "nobody/nothing"
precision = "fp32"
width = { min = 64, max = 64, default = 64 }
height = { min = 64, max = 64, default = 64 }
pixels_max = 4096
num_inference_steps = { min = 1, max = 1, default = 1 }
guidance_scale = { min = 0.0, max = 1.0, default = 1.0 }
max_sequence_length = { min = 16, max = 16, default = 16 }
batch_slots = 1
interactive_slots = 1
"""


class Up:
    """One `up` of an installation that may have several, one after the other."""

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        self.directory = directory
        self.log_path = directory / f"up-{time.monotonic_ns()}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "services.standalone", "up"),
                    *("--data-directory", directory / "data", "--port", str(port)),
                ],
                env={
                    **os.environ,
                    "ATELIER_STANDALONE_MODEL_CATALOGUE_PATH": str(directory / "models.toml"),
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        return self.log_path.read_text()

    def runs(self) -> "Up":
        """Wait until it says where it listens."""
        assert eventually(lambda: "the gateway listens at" in self.output(), seconds=60), (
            self.output()
        )
        return self

    @property
    def address(self) -> tuple[str, int]:
        match = re.search(r"the gateway listens at ([\d.]+):(\d+)", self.output())
        assert match is not None
        return match[1], int(match[2])

    def process_id(self, name: str) -> int:
        """Of the newest process of that name."""
        return int(re.findall(rf"{name} runs as process (\d+)", self.output())[-1])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def directory() -> Generator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="atelier-up-"))
    directory.chmod(0o755)
    (directory / "models.toml").write_text(CATALOGUE)
    yield directory
    for process in processes_of(directory):
        process.kill()
    shutil.rmtree(directory)


@pytest.fixture
def start(directory: Path) -> Generator[Callable[[], Up]]:
    started: list[Up] = []

    def start_one() -> Up:
        started.append(Up(directory))
        return started[-1]

    yield start_one
    for up in started:
        if up.process.poll() is None:
            up.stop()


def eventually(look: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes_of(directory: Path) -> list[psutil.Process]:
    """Whatever runs for this installation, PostgreSQL with its sessions included."""
    run = str(make_run_directory(directory / "data").path)
    cluster = directory / "data" / "postgres"

    def belongs(process: psutil.Process) -> bool:
        try:
            return (
                process.environ().get(RUN_DIRECTORY_VARIABLE) == run
                or Path(process.cwd()) == cluster
            )
        except (psutil.Error, OSError):
            return False

    return [process for process in psutil.process_iter() if belongs(process)]


def answers(address: tuple[str, int]) -> bool:
    with socket.socket() as connection:
        connection.settimeout(1.0)
        return connection.connect_ex(address) == 0


def test_it_ends_in_good_order_and_leaves_no_process_behind(
    start: Callable[[], Up], directory: Path
) -> None:
    up = start().runs()
    assert answers(up.address)
    assert len(processes_of(directory)) > 5

    code = up.stop()

    assert code == 0
    assert processes_of(directory) == []
    assert "killed" not in up.output()


def test_the_second_one_is_told_who_the_first_is(start: Callable[[], Up]) -> None:
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
    start: Callable[[], Up], directory: Path
) -> None:
    first = start().runs()
    key = (directory / "data" / "operator.key").read_text()
    first.process.kill()
    first.process.wait()

    assert eventually(lambda: processes_of(directory) == [], seconds=30)

    start().runs()
    assert (directory / "data" / "operator.key").read_text() == key


def test_the_next_one_ends_what_even_the_kernel_left(
    start: Callable[[], Up], directory: Path
) -> None:
    first = start().runs()
    stopped = psutil.Process(first.process_id("meter"))
    # A frozen process hears no signal but SIGKILL.
    stopped.suspend()
    first.process.kill()
    first.process.wait()

    second = start().runs()

    assert "of an installation that was killed" in second.output()
    assert not stopped.is_running()


def test_a_process_that_does_not_end_is_killed(start: Callable[[], Up], directory: Path) -> None:
    up = start().runs()
    psutil.Process(up.process_id("meter")).suspend()

    code = up.stop()

    assert code == 0
    assert "meter did not end in time and was killed" in up.output()
    assert processes_of(directory) == []


@pytest.mark.parametrize("name", ["gateway", "recorder", "postgres"])
def test_what_dies_is_started_again(start: Callable[[], Up], name: str) -> None:
    up = start().runs()
    before = up.process_id(name)

    os.kill(before, signal.SIGKILL)

    assert eventually(lambda: up.process_id(name) != before, seconds=20)
    assert eventually(lambda: answers(up.address), seconds=20)


def test_secrets_and_keys_are_for_their_owner_alone(
    start: Callable[[], Up], directory: Path
) -> None:
    start().runs()

    data = directory / "data"
    private = [data / "operator.key", *(data / "secrets").iterdir()]
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}
    assert oct((data / "secrets").stat().st_mode & 0o777) == "0o700"
    assert json.loads((data / "standalone.lock").read_text())["pid"] > 0
