"""Whole installations as processes: `python -m services.standalone up` on a data directory."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from services.standalone.directories import make_run_directory
from tenants.run_directory import RUN_DIRECTORY_VARIABLE

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
        """Wait until it says where it listens; a busy machine makes its checkpoint slowly."""
        assert eventually(lambda: "the gateway listens at" in self.output(), seconds=150), (
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

    @property
    def operator_key(self) -> str:
        return (self.directory / "data" / "operator.key").read_text().strip()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


StartUp = Callable[[], Up]


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
