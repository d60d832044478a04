"""What the kernel says about one process: the truth that a launcher's orders are held to.

Reads /proc and the control groups only. `python -m tenants.launchers.confinement` prints the answer
about process 1 of the namespaces it is run in, as JSON: so a launcher asks inside a container.
"""

import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

# What every container's /dev holds, and nobody can do harm with.
_HARMLESS_DEVICES: Final = frozenset(
    {"console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"}
)
_CAPABILITY_SETS: Final = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
# Version 1 says "no limit" with the largest multiple of a page that a signed 64-bit number holds.
_UNLIMITED_FROM: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """One process as the kernel holds it."""

    user: int
    group: int
    other_groups: tuple[int, ...]
    # The union of its five sets; 0: none, and none can be got back.
    capabilities: int
    no_new_privileges: bool
    # 2: a filter decides over each system call.
    seccomp_mode: int
    # Its user namespace maps its numbers to others outside.
    own_user_namespace: bool
    network_interfaces: tuple[str, ...]
    root_is_read_only: bool
    # Folders at which something is mounted that it may write to.
    writable_mounts: tuple[str, ...]
    # In /dev, beyond those that every process has.
    devices: tuple[str, ...]
    # None: no limit.
    memory_bytes_max: int | None
    memory_and_swap_bytes_max: int | None
    processes_max: int | None
    # Of one core, per second.
    cpu_seconds_max: float | None


def read_confinement(process: Path, *, control_groups: "ControlGroups") -> Confinement:
    """Read what holds for one process, named by its folder in /proc."""
    status = _read_status(process)
    users = [int(word) for word in status["Uid"].split()]
    groups = [int(word) for word in status["Gid"].split()]
    assert len(set(users)) == len(set(groups)) == 1, "a process with two faces is not confined"
    mounts = list(_mounts(process))
    return Confinement(
        user=users[0],
        group=groups[0],
        other_groups=tuple(sorted({int(word) for word in status["Groups"].split()} - {groups[0]})),
        capabilities=_union(int(status[name], 16) for name in _CAPABILITY_SETS),
        no_new_privileges=status["NoNewPrivs"] == "1",
        seccomp_mode=int(status["Seccomp"]),
        own_user_namespace=(process / "uid_map").read_text().split() != ["0", "0", "4294967295"],
        network_interfaces=tuple(_interfaces(process)),
        root_is_read_only=any(point == "/" and "ro" in options for point, options, _ in mounts),
        writable_mounts=tuple(
            sorted(
                point
                for point, options, _ in mounts
                if "rw" in options
                and _may_write(process / "root" / point[1:], user=users[0], group=groups[0])
            )
        ),
        devices=tuple(_devices(process)),
        memory_bytes_max=control_groups.memory_bytes_max,
        memory_and_swap_bytes_max=control_groups.memory_and_swap_bytes_max,
        processes_max=control_groups.processes_max,
        cpu_seconds_max=control_groups.cpu_seconds_max,
    )


class ControlGroups:
    """The limits of one control group, of version 1 or 2, by the files that hold them."""

    def __init__(self, *, memory: Path, pids: Path, cpu: Path) -> None:
        self._memory, self._pids, self._cpu = memory, pids, cpu

    @classmethod
    def of_this_container(cls, root: Path = Path("/sys/fs/cgroup")) -> "ControlGroups":
        """Those that a container sees as the root of its own hierarchy."""
        if (root / "cgroup.controllers").exists():
            return cls(memory=root, pids=root, cpu=root)
        return cls(memory=root / "memory", pids=root / "pids", cpu=root / "cpu")

    @property
    def memory_bytes_max(self) -> int | None:
        return _limit(self._memory, "memory.max", "memory.limit_in_bytes")

    @property
    def memory_and_swap_bytes_max(self) -> int | None:
        if (self._memory / "memory.max").exists():
            memory, swap = self.memory_bytes_max, _limit(self._memory, "memory.swap.max")
            # A kernel without swap has no such file, and nothing to bound.
            if not (self._memory / "memory.swap.max").exists():
                swap = 0
            return None if memory is None or swap is None else memory + swap
        if not (self._memory / "memory.memsw.limit_in_bytes").exists():
            return self.memory_bytes_max
        return _limit(self._memory, "memory.memsw.limit_in_bytes")

    @property
    def processes_max(self) -> int | None:
        return _limit(self._pids, "pids.max")

    @property
    def cpu_seconds_max(self) -> float | None:
        if (self._cpu / "cpu.max").exists():
            quota, period = (self._cpu / "cpu.max").read_text().split()
            return None if quota == "max" else int(quota) / int(period)
        if not (self._cpu / "cpu.cfs_quota_us").exists():
            return None
        quota = int((self._cpu / "cpu.cfs_quota_us").read_text())
        return None if quota < 0 else quota / int((self._cpu / "cpu.cfs_period_us").read_text())


def _limit(folder: Path, *names: str) -> int | None:
    for name in names:
        if (folder / name).exists():
            word = (folder / name).read_text().strip()
            return None if word == "max" or int(word) >= _UNLIMITED_FROM else int(word)
    return None


def _read_status(process: Path) -> Mapping[str, str]:
    lines = (process / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _union(sets: Iterator[int]) -> int:
    union = 0
    for one in sets:
        union |= one
    return union


def _interfaces(process: Path) -> Iterator[str]:
    for line in (process / "net" / "dev").read_text().splitlines()[2:]:
        yield line.partition(":")[0].strip()


def _mounts(process: Path) -> Iterator[tuple[str, list[str], str]]:
    """Yield (mount point, its options, kind of file system)."""
    for line in (process / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        # proc(5): the mount point is field 5, the options of this mount field 6; a file system that
        # is read-only itself says so in its own options.
        own_options = after.split()[-1].split(",")
        options = ["ro"] if "ro" in own_options else fields[5].split(",")
        yield fields[4], options, after.split()[0]


def _may_write(folder: Path, *, user: int, group: int) -> bool:
    """Whether a process without capabilities could make a file there."""
    try:
        found = folder.stat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if found.st_uid == user:
        return bool(found.st_mode & stat.S_IWUSR)
    if found.st_gid == group:
        return bool(found.st_mode & stat.S_IWGRP)
    return bool(found.st_mode & stat.S_IWOTH)


def _devices(process: Path) -> Iterator[str]:
    folder = process / "root" / "dev"
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name in _HARMLESS_DEVICES or name.startswith("pts/"):
            continue
        mode = path.lstat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            yield f"/dev/{name}"


def main() -> None:
    """Print what holds for process 1 here."""
    confinement = read_confinement(
        Path("/proc/1"), control_groups=ControlGroups.of_this_container()
    )
    print(json.dumps(asdict(confinement)))  # noqa: T201 -- the launcher reads it


if __name__ == "__main__":
    main()
