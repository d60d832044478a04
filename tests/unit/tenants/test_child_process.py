"""When a child has ended, and that it is collected."""

import os
import sys
import time
from pathlib import Path

import psutil

from tenants.launchers.child_process import is_running, start_child

# The first thread ends by itself (Linux' system call exit, 60 on x86-64 and 93 on ARM64); the
# other one ends the process when nobody holds the pipe's other end any more.
LAST_THREAD_STAYS = """
import ctypes, os, platform, sys, threading
def wait():
    os.read(int(sys.argv[1]), 1)
    os._exit(0)
threading.Thread(target=wait).start()
ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)
"""
PATIENCE_SECONDS = 30.0


def test_a_child_runs_until_its_last_thread_has_ended_and_is_collected_then(tmp_path: Path) -> None:
    held, hold = os.pipe()
    child = start_child(
        [sys.executable, "-c", LAST_THREAD_STAYS, str(held)],
        environment={},
        log_path=tmp_path / "log",
        death_signal=None,
        open_files=[held],
    )
    os.close(held)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the first thread does not end"
        time.sleep(0.01)

    is_half_ended_running = is_running(child)
    os.close(hold)
    while is_running(child):
        assert time.monotonic() < deadline, "the last thread does not end"
        time.sleep(0.01)

    assert is_half_ended_running
    assert not psutil.pid_exists(child.pid)
