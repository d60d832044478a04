"""A process whose event loop is held ends itself; one whose loop goes round ends as it would."""

import os
import subprocess
import sys
from pathlib import Path

# Goes on until its first pulse is there.
GOES_ROUND = """
import asyncio, os, pathlib
from services.liveness.event_loop import run_watched

async def main():
    while not pathlib.Path(os.environ["ATELIER_PULSE_PATH"]).exists():
        await asyncio.sleep(0.01)

run_watched(main())
"""
# Holds the loop for longer than any test takes, and is looked after more often than in earnest.
HOLDS_THE_LOOP = """
import time
from services.liveness import event_loop, pulse

event_loop._TURN_SECONDS_MAX = 0.3
pulse._LOOK_SECONDS = 0.05

async def main():
    time.sleep(1000)

event_loop.run_watched(main())
"""


def run(program: str, pulse: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ATELIER_PULSE_PATH": str(pulse)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_watched_process_writes_its_pulse_and_ends_by_itself(tmp_path: Path) -> None:
    ended = run(GOES_ROUND, tmp_path / "pulse")

    assert (ended.returncode, ended.stderr) == (0, "")
    until_nanos, state = (tmp_path / "pulse").read_text().split()
    assert (until_nanos.isdigit(), state) == (True, "busy")


def test_a_process_whose_loop_is_held_ends_itself_and_says_which(tmp_path: Path) -> None:
    ended = run(HOLDS_THE_LOOP, tmp_path / "pulse")

    assert ended.returncode == 70
    assert "event loop" in ended.stdout
