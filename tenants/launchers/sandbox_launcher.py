"""Workers in sandboxes of bubblewrap: for one box without Docker.

Each has a user of its tenant's own, namespaces of its own, the tenant's three sockets and no
network, a filter of system calls, and a control group. What holds is read back from the kernel.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tenants.launchers.child_process import (
    ChildProcess,
    identify,
    is_running,
    kill_group,
    send,
    start_child,
    wait_for_end,
)
from tenants.launchers.confinement import read_confinement
from tenants.launchers.container_order import MODEL_MOUNT, TENANT_MOUNT
from tenants.launchers.control_group import ControlGroupPlace, find_place
from tenants.launchers.errors import LauncherUnavailableError, WorkerRefusedError
from tenants.launchers.nvidia_nodes import device_nodes
from tenants.launchers.process_launcher import worker_environment
from tenants.launchers.sandbox_command import WRITABLE_MOUNTS, SandboxPrograms, sandbox_command
from tenants.launchers.seccomp_filter import compile_filter
from tenants.launchers.worker_launcher import StartedWorker, WorkerOrder
from tenants.launchers.worker_limits import Required, WorkerLimits, differences
from tenants.tenant_directories import group_of

_START_SECONDS: Final = 20.0
_KILL_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.005
_WORKER: Final = (sys.executable, "-m", "services.worker")


class SandboxLauncher:
    """Starts each worker in a sandbox that holds it in."""

    name = "sandbox"
    isolation = (
        "sandbox: no network, own user and group for each tenant, own namespaces, no capabilities, "
        "system-call filter, read-only root, limits of memory, processes and cores; one kernel and "
        "one installation of the programs for all"
    )

    def __init__(
        self, limits: WorkerLimits, *, first_user: int, program: Sequence[str] = _WORKER
    ) -> None:
        self._limits = limits
        self._first_user = first_user
        self._program = program
        self._programs: SandboxPrograms | None = None
        self._filter = b""
        self._place: ControlGroupPlace | None = None

    @property
    def first_group(self) -> int | None:
        return self._first_user

    def check(self) -> None:
        if os.geteuid() != 0:
            raise LauncherUnavailableError(
                "The launcher `sandbox` gives each tenant a user of its own, which only root can."
            )
        self._programs = SandboxPrograms(
            bubblewrap=_find("bwrap", "bubblewrap"), setpriv=_find("setpriv", "util-linux")
        )
        self._filter = compile_filter()
        self._place = find_place()
        self._try_out(self._programs)

    def start(self, order: WorkerOrder) -> StartedWorker:
        if not Path(order.model_path).is_dir():
            raise WorkerRefusedError(
                f"{order.model_path} is no folder: a worker without a network loads no model of "
                "a hub. Put the model's folder beside the catalogue."
            )
        user = group_of(order.tenant_directory)
        nodes = device_nodes(order.device_uuid) if order.device_uuid else ()
        group = self._group(order.session_id)
        group.make(self._limits, cpus=self._limits.cpus_for(order.threads))
        guard = child = None
        try:
            guard, child = self._enter(order, user, nodes, group)
            self._hold_to(child, self._required(order, user, nodes), group)
        except BaseException:
            for process in (child, guard):
                if process is not None:
                    kill_group(process)
                    wait_for_end(process, timeout_seconds=_KILL_SECONDS)
            group.remove()
            raise
        return StartedWorker(
            session_id=order.session_id, process_id=child.pid, child=child, guard=guard
        )

    def is_running(self, worker: StartedWorker) -> bool:
        assert worker.child is not None
        assert worker.guard is not None
        if is_running(worker.child):
            return True
        kill_group(worker.guard)
        wait_for_end(worker.guard, timeout_seconds=_KILL_SECONDS)
        self._group(worker.session_id).remove()
        return False

    def ask_to_end(self, worker: StartedWorker) -> None:
        assert worker.child is not None
        send(worker.child, signal.SIGTERM)

    def kill(self, worker: StartedWorker) -> None:
        assert worker.child is not None
        # The first process of its namespace: with it all others of it end.
        send(worker.child, signal.SIGKILL)

    def forget_others(self, known: Collection[StartedWorker]) -> None:
        """Nothing to do: the fleet notes each worker before it looks at the next."""

    def _group(self, name: str) -> ControlGroupPlace:
        assert self._place is not None, "check() comes first"
        return self._place.group(name)

    def _enter(
        self,
        order: WorkerOrder,
        user: int,
        nodes: Sequence[str],
        group: ControlGroupPlace,
    ) -> tuple[ChildProcess, ChildProcess]:
        """Start it; return bubblewrap's own process and the worker's."""
        assert self._programs is not None, "check() comes first"
        filter_file = _file_of(self._filter)
        news, news_file = os.pipe()
        try:
            guard = start_child(
                sandbox_command(
                    order,
                    self._program,
                    programs=self._programs,
                    user=user,
                    limits=self._limits,
                    device_nodes=nodes,
                    filter_file=filter_file,
                    news_file=news_file,
                ),
                environment={
                    **worker_environment(order),
                    "PATH": os.defpath,
                    "HOME": "/tmp",  # noqa: S108 -- the sandbox's own
                    "LANG": "C.UTF-8",
                    "HF_HUB_OFFLINE": "1",
                    "ATELIER_WORKER_TENANT_DIRECTORY": TENANT_MOUNT,
                    "ATELIER_WORKER_MODEL_PATH": MODEL_MOUNT,
                    "ATELIER_CONTROL_GROUPS": " ".join(map(str, group.member_files)),
                },
                log_path=order.log_path,
                death_signal=None,
                open_files=(filter_file, news_file),
            )
        finally:
            os.close(filter_file)
            os.close(news_file)
        told = _read_news(news)
        child = identify(int(json.loads(told)["child-pid"])) if told else None
        if child is None:
            kill_group(guard)
            wait_for_end(guard, timeout_seconds=_KILL_SECONDS)
            raise WorkerRefusedError(f"bubblewrap did not start it; see {order.log_path}")
        return guard, child

    def _hold_to(self, child: ChildProcess, required: Required, group: ControlGroupPlace) -> None:
        process = Path("/proc") / str(child.pid)
        # Until it has become the worker's program bubblewrap is still building its walls.
        if not _eventually(lambda: not is_running(child) or _is_program(process, self._program)):
            raise WorkerRefusedError("bubblewrap did not become the worker in time")
        if not is_running(child):
            raise WorkerRefusedError("it ended before it had begun; its log says why")
        outside = [
            str(members)
            for members in group.member_files
            if str(child.pid) not in members.read_text().split()
        ]
        if outside:
            raise WorkerRefusedError(f"it is not in the control group of {', '.join(outside)}")
        try:
            found = read_confinement(process, control_groups=group.limits)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise WorkerRefusedError("it ended while it was looked at") from error
        if wrong := [*differences(required, found)]:
            raise WorkerRefusedError(f"it is not confined as it must be: {'; '.join(wrong)}")

    def _required(self, order: WorkerOrder, user: int, nodes: Sequence[str]) -> Required:
        return Required(
            user=user,
            group=user,
            memory_bytes=self._limits.memory_bytes,
            processes=self._limits.processes,
            cpus=self._limits.cpus_for(order.threads),
            devices=frozenset(nodes),
            writable_mounts=WRITABLE_MOUNTS,
            own_user_namespace=False,
        )

    def _try_out(self, programs: SandboxPrograms) -> None:
        """A kernel, or a container around the fleet, may forbid it: better said now than later."""
        done = subprocess.run(
            [
                *(programs.bubblewrap, "--unshare-ipc", "--unshare-pid", "--unshare-net"),
                *("--unshare-uts", "--unshare-cgroup", "--as-pid-1", "--cap-drop", "ALL"),
                *("--ro-bind", "/", "/", "--proc", "/proc", "--", "/bin/true"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_SECONDS,
        )
        if done.returncode != 0:
            raise LauncherUnavailableError(
                "bubblewrap cannot make a sandbox here (the fleet must be root on the host itself, "
                f"not in a container): {done.stderr.strip()}"
            )


def _find(program: str, package: str) -> str:
    if (found := shutil.which(program)) is None:
        raise LauncherUnavailableError(
            f"The launcher `sandbox` needs {program}: apt-get install {package}"
        )
    return found


def _file_of(content: bytes) -> int:
    """Return a file that holds it, open at its beginning; it is gone once it is closed."""
    file = os.memfd_create("filter", 0)
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _read_news(news: int) -> bytes:
    """Read one object of JSON; the worker itself may hold the other end of the pipe open."""
    told = b""
    try:
        while b"}" not in told and (chunk := os.read(news, 4096)):
            told += chunk
    finally:
        os.close(news)
    return told


def _is_program(process: Path, program: Sequence[str]) -> bool:
    with suppress(OSError):
        words = (process / "cmdline").read_bytes().split(b"\0")
        return words[: len(program)] == [word.encode() for word in program]
    return False


def _eventually(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
