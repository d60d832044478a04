"""A control group of one worker (version 1 or 2), made with its limits before the worker is in."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenants.launchers.confinement import ControlGroups
from tenants.launchers.errors import LauncherUnavailableError, WorkerRefusedError
from tenants.launchers.worker_limits import WorkerLimits

_PERIOD_MICROSECONDS: Final = 100_000
_CONTROLLERS: Final = ("memory", "pids", "cpu")
_REMOVE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class ControlGroupPlace:
    """Where groups are made: a folder for each controller, all the same one in version 2."""

    memory: Path
    pids: Path
    cpu: Path

    @property
    def is_unified(self) -> bool:
        return self.memory == self.pids == self.cpu

    def group(self, name: str) -> "ControlGroupPlace":
        return ControlGroupPlace(self.memory / name, self.pids / name, self.cpu / name)

    @property
    def limits(self) -> ControlGroups:
        """For reading back."""
        return ControlGroups(memory=self.memory, pids=self.pids, cpu=self.cpu)

    @property
    def folders(self) -> Iterator[Path]:
        yield from dict.fromkeys((self.memory, self.pids, self.cpu))

    @property
    def member_files(self) -> list[Path]:
        """A process that writes its number there is in the group."""
        return [folder / "cgroup.procs" for folder in self.folders]

    def make(self, limits: WorkerLimits, *, cpus: float) -> None:
        """Make the group with its limits.

        Raises:
            WorkerRefusedError: the kernel does not take them.
        """
        try:
            for folder in self.folders:
                folder.mkdir(parents=True, exist_ok=True)
            for path, value in self._values(limits, cpus):
                path.write_text(value)
        except OSError as error:
            self.remove()
            raise WorkerRefusedError(f"its control group could not be made: {error}") from error

    def remove(self) -> None:
        """Take it away; its last process may be on its way out still."""
        deadline = time.monotonic() + _REMOVE_SECONDS
        for folder in self.folders:
            while folder.is_dir():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        return
                    time.sleep(_POLL_SECONDS)

    def _values(self, limits: WorkerLimits, cpus: float) -> Iterator[tuple[Path, str]]:
        memory, quota = str(limits.memory_bytes), round(cpus * _PERIOD_MICROSECONDS)
        yield self.pids / "pids.max", str(limits.processes)
        if self.is_unified:
            yield self.memory / "memory.max", memory
            if (self.memory / "memory.swap.max").exists():
                yield self.memory / "memory.swap.max", "0"
            yield self.cpu / "cpu.max", f"{quota} {_PERIOD_MICROSECONDS}"
            return
        # In this order: memory alone may never be above memory with swap.
        yield self.memory / "memory.limit_in_bytes", memory
        if (self.memory / "memory.memsw.limit_in_bytes").exists():
            yield self.memory / "memory.memsw.limit_in_bytes", memory
        yield self.cpu / "cpu.cfs_period_us", str(_PERIOD_MICROSECONDS)
        yield self.cpu / "cpu.cfs_quota_us", str(quota)


def find_place(
    *, root: Path = Path("/sys/fs/cgroup"), own_groups: Path = Path("/proc/self/cgroup")
) -> ControlGroupPlace:
    """Find where this process may make groups: version 2 a folder at the top, version 1 in its own.

    Raises:
        LauncherUnavailableError: a controller is missing, or nothing may be made.
    """
    if (root / "cgroup.controllers").exists():
        place = _unified(root)
    else:
        own = dict(_own(own_groups))
        if missing := [name for name in _CONTROLLERS if name not in own]:
            raise LauncherUnavailableError(
                f"This kernel's control groups do not bound {', '.join(missing)}."
            )
        place = ControlGroupPlace(
            *(root / name / own[name].lstrip("/") / "atelier" for name in _CONTROLLERS)
        )
    for folder in place.folders:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise LauncherUnavailableError(
                f"No control group can be made at {folder}, so no worker can be bounded: {error}"
            ) from error
    return place


def _unified(root: Path) -> ControlGroupPlace:
    known = (root / "cgroup.controllers").read_text().split()
    if missing := [name for name in _CONTROLLERS if name not in known]:
        raise LauncherUnavailableError(
            f"Control groups here do not bound {', '.join(missing)}: delegate them to this host."
        )
    folder = root / "atelier"
    try:
        wish = " ".join(f"+{name}" for name in _CONTROLLERS)
        folder.mkdir(exist_ok=True)
        # Whoever is at the top lets its children have the controllers, and these theirs.
        for parent in (root, folder):
            (parent / "cgroup.subtree_control").write_text(wish)
    except OSError as error:
        raise LauncherUnavailableError(
            f"No control group can be made at {folder}, so no worker can be bounded: {error}"
        ) from error
    return ControlGroupPlace(folder, folder, folder)


def _own(own_groups: Path) -> Iterator[tuple[str, str]]:
    for line in own_groups.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            yield name, path
