"""Nothing outlives the tests, not even tests that are killed."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.containers.keeper import marked
from tests.e2e.installations import eventually

# Something that runs on by itself, and a file.
LEAVE_SOMETHING = """
import subprocess, sys, time
from pathlib import Path
from tests.containers.keeper import kept_clean
folder = Path(sys.argv[1])
with kept_clean(folder):
    (folder / "file").touch()
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    print("started", flush=True)
    time.sleep(600)
"""


def test_what_killed_tests_have_started_is_ended_and_their_files_removed(tmp_path: Path) -> None:
    folder = tmp_path / "workshop"
    folder.mkdir()
    tests = subprocess.Popen(
        [sys.executable, "-c", LEAVE_SOMETHING, folder],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    assert tests.stdout is not None
    with tests.stdout:
        assert tests.stdout.readline() == b"started\n"
    assert len(marked(folder)) == 1

    tests.send_signal(signal.SIGKILL)
    tests.wait()

    assert eventually(lambda: not folder.exists(), seconds=60)
    assert marked(folder) == []
