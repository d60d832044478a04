"""One installation per data directory: the second is told who the first is."""

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from services.standalone.errors import AlreadyRunningError


@contextmanager
def instance_lock(path: Path, *, address: str) -> Generator[None]:
    """Hold the data directory; the kernel lets go of it when this process ends, however it does.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(_who_runs(path)) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "address": address}))
        file.flush()
        yield


def _who_runs(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        who = f"process {holder['pid']}, gateway at {holder['address']}"
    except (ValueError, KeyError, TypeError):
        who = "it has just been started"
    return (
        f"Atelier already runs on {path.parent} ({who}). Stop that one first, "
        "or choose other places: --data-directory and --port."
    )
