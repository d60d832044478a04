"""Nothing is left behind: whoever starts below this process ends with it at the latest.

Linux only: a "subreaper" inherits the orphans of everything it started, so that also a broker whose
fleet was killed stays below the installation and can be found.
"""

import contextlib
import ctypes
import os
from collections.abc import Container

import psutil

from tenants.run_directory import RUN_DIRECTORY_VARIABLE, RunDirectory

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_SECONDS = 5.0


def inherit_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def collect_orphans(*, except_pids: Container[int | None]) -> None:
    """Let inherited processes that ended go; children of our own are collected by who waits."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if process.pid not in except_pids and process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)


def kill_descendants() -> list[str]:
    """Kill whatever still runs below this process; return the names of what had to be killed."""
    killed: list[str] = []
    # A process may start another one while it is being killed: look until none is left.
    while found := [one for one in psutil.Process().children(recursive=True) if _runs(one)]:
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                killed.append(process.name())
                process.kill()
        psutil.wait_procs(found, timeout=_PATIENCE_SECONDS)
    return killed


def end_leftovers(run: RunDirectory) -> int:
    """End what an installation left that was killed itself; return how many processes."""
    leftovers = [one for one in psutil.process_iter() if _belongs_to(one, run)]
    for process in leftovers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stuck = psutil.wait_procs(leftovers, timeout=_PATIENCE_SECONDS)
    for process in stuck:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stuck, timeout=_PATIENCE_SECONDS)
    return len(leftovers)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _belongs_to(process: psutil.Process, run: RunDirectory) -> bool:
    try:
        mark = process.environ().get(RUN_DIRECTORY_VARIABLE)
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False
    return mark == str(run.path) and process.pid != os.getpid() and _runs(process)
