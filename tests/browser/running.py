"""An installation with its console, seeded, as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.browser.seeding import Seeded, seed

_START_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where it is, and what is in it."""

    url: str
    gateway_address: str
    seeded: Seeded


@contextmanager
def running_site(directory: Path, *, size: int, steps: int) -> Generator[Site]:
    """Run `up` on an empty directory, with the checkpoint that ships, and let two studios draw."""
    log_path = directory / "up.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "services.standalone", "up"),
                *("--data-directory", directory / "data", "--port", "0"),
            ],
            env={**os.environ, "ATELIER_STANDALONE_CPU_DEVICE_COUNT": "2"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url, gateway_address = _addresses(log_path, process)
        key = (directory / "data" / "operator.key").read_text().strip()
        seeded = seed(gateway_address, key, size=size, steps=steps)
        yield Site(url=url, gateway_address=gateway_address, seeded=seeded)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _addresses(log_path: Path, process: "subprocess.Popen[bytes]") -> tuple[str, str]:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        text = log_path.read_text()
        console = re.search(r"The console is at (http://[\d.:]+);", text)
        gateway = re.search(r"the gateway listens at ([\d.]+:\d+)\.", text)
        if console and gateway:
            return console[1], gateway[1]
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
