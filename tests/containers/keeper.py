"""Clears up after the tests of this folder however they end: passed, interrupted, or killed.

It waits at a pipe whose other end only pytest holds. Once that is closed it ends whatever was
started with the workshop's mark in its environment, and removes the folder.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

# Inherited by whatever a test starts; an engine's containers have another environment, but they
# live in its namespace of processes and end with its first one.
MARK: Final = "ATELIER_TEST_WORKSHOP"
# An installation that is asked to end stops its workers, brokers and database.
END_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1


@contextmanager
def kept_clean(folder: Path) -> Generator[None]:
    """Within the block, mark what is started; after it, see that nothing of it is left."""
    program = [sys.executable, "-m", "tests.containers.keeper", folder]
    # In a session of its own: Ctrl-C and a signal to pytest's group do not reach it.
    keeper = subprocess.Popen(
        program, stdin=subprocess.PIPE, start_new_session=True, cwd=Path(__file__).parents[2]
    )
    os.environ[MARK] = str(folder)
    try:
        yield
    finally:
        del os.environ[MARK]
        assert keeper.stdin is not None
        keeper.stdin.close()
        # Gigabytes of images are removed slowly where others use the disk.
        left = keeper.wait(10 * END_SECONDS)
    assert left == 0, f"the tests left something behind in {folder}, or did not end it themselves"


def main() -> None:
    folder = Path(sys.argv[1])
    sys.stdin.buffer.read()
    orderly = not marked(folder)
    end_all(folder)
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if orderly and not folder.exists() else 1)


def end_all(folder: Path) -> None:
    """Ask all to end, as an operator would; kill what has not ended in time."""
    for process in marked(folder):
        with contextlib.suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + END_SECONDS
    while (left := marked(folder)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=END_SECONDS)


def marked(folder: Path) -> list[psutil.Process]:
    """Whatever was started for this workshop and has not ended."""

    def belongs(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            return process.environ().get(MARK) == str(folder) and process.pid != os.getpid()
        return False

    return [process for process in psutil.process_iter() if belongs(process)]


def unmount_below(folder: Path) -> None:
    """What is mounted there would keep the folder from being removed."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        point = line.split()[4]
        if Path(point).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", point], check=False)


if __name__ == "__main__":
    main()
