"""One child process: started in a group of its own, known by pid and start, ended for certain.

A pid alone says nothing after a restart: the kernel gives it to somebody else. With the time the
process started at (in clock ticks since boot) and the boot's id it names one process for good, so
a starter that comes back may adopt what it started before.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02
# After SIGKILL the kernel needs a moment; longer than this only for uninterruptible disk waits.
_KILL_SECONDS = 10.0

# Loaded here because nothing may be loaded between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcess:
    """One process of this host, until it ends and never another one."""

    pid: int
    start_ticks: int
    boot_id: str


def start_child(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    log_path: Path,
    death_signal: signal.Signals | None,
    user: str | None = None,
    directory: Path | None = None,
    open_files: Sequence[int] = (),
) -> ChildProcess:
    """Start a program in a session of its own, with its output appended to a file.

    With a `death_signal` the kernel sends it to the child when the *thread* that calls this ends:
    call it from the main thread. Without one, the child outlives its starter.
    """
    with log_path.open("ab") as log:
        started = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            pass_fds=open_files,
            user=user,
            group=None if user is None else _group_of(user),
            extra_groups=None if user is None else [],
            preexec_fn=None if death_signal is None else _dies_with_parent(death_signal),  # noqa: PLW1509 -- two system calls: no lock that a thread could hold
        )
    # We wait for pids by ourselves; the object would warn that its child still runs.
    started.returncode = 0
    child = identify(started.pid)
    assert child is not None, "a child that nobody has waited for keeps its pid"
    return child


def identify(pid: int) -> ChildProcess | None:
    """Name the process that has this pid now, a zombie too; None when there is none."""
    if (status := _read_status(pid)) is None:
        return None
    return ChildProcess(pid=pid, start_ticks=status.start_ticks, boot_id=_boot_id())


def is_running(child: ChildProcess) -> bool:
    """Whether it runs still; collects it when it is a child of ours that has ended."""
    status = _read_status(child.pid)
    if status is None or status.start_ticks != child.start_ticks or child.boot_id != _boot_id():
        return False
    if status.state not in "ZX":
        return True
    try:
        collected_pid, _ = os.waitpid(child.pid, os.WNOHANG)
    except ChildProcessError:
        return False
    # None yet: its first thread has ended and others have not, so it still holds its memory. Who
    # forgot it now would never collect it.
    return collected_pid == 0


def send(child: ChildProcess, what: signal.Signals) -> None:
    """Signal this process and no later owner of its pid."""
    try:
        handle = os.pidfd_open(child.pid)
    except ProcessLookupError:
        return
    try:
        # Between the two looks the handle holds the process, so that the pid cannot change hands.
        if is_running(child):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, what)
    finally:
        os.close(handle)


def end(
    child: ChildProcess, *, ask_with: signal.Signals = signal.SIGTERM, patience_seconds: float
) -> bool:
    """Ask it to end, wait, then kill its whole group; False when it had to be killed."""
    send(child, ask_with)
    if wait_for_end(child, timeout_seconds=patience_seconds):
        return True
    kill_group(child)
    wait_for_end(child, timeout_seconds=_KILL_SECONDS)
    return False


def kill_group(child: ChildProcess) -> None:
    """Kill the process and whatever it started in its own session."""
    if is_running(child):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def wait_for_end(child: ChildProcess, *, timeout_seconds: float) -> bool:
    """Wait until it has ended; False when it still runs after that time."""
    deadline = time.monotonic() + timeout_seconds
    while is_running(child):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Status:
    state: str
    start_ticks: int


def _read_status(pid: int) -> _Status | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, also spaces and parentheses: cut after its end.
    fields = line.rpartition(")")[2].split()
    # proc(5): state is field 3, starttime field 22; the first two are cut off.
    return _Status(state=fields[0], start_ticks=int(fields[19]))


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _group_of(user: str) -> int:
    import pwd  # noqa: PLC0415 -- exists on Unix only, needed as root only

    return pwd.getpwnam(user).pw_gid


def _dies_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def between_fork_and_exec() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        # The parent may have died before the line above: then no signal will ever come.
        if os.getppid() != parent:
            os._exit(1)

    return between_fork_and_exec
