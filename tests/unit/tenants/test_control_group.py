"""A worker's control group, on folders that look like the kernel's."""

from pathlib import Path

import pytest

from tenants.launchers.control_group import ControlGroupPlace, find_place
from tenants.launchers.errors import LauncherUnavailableError
from tenants.launchers.worker_limits import WorkerLimits

LIMITS = WorkerLimits(memory_bytes=2**30, processes=100, tmp_bytes=1)


def test_in_version_2_one_group_bounds_memory_processes_and_cores(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids")
    own = tmp_path / "own"
    own.write_text("0::/system.slice/atelier.service\n")
    place = find_place(root=tmp_path, own_groups=own)
    group = place.group("worker")
    group.memory.mkdir()
    (group.memory / "memory.swap.max").write_text("max")
    (group.memory / "memory.max").write_text("max")
    (group.memory / "cpu.max").write_text("max 100000")

    group.make(LIMITS, cpus=1.5)

    read = group.limits
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert read.memory_bytes_max == 2**30
    assert read.memory_and_swap_bytes_max == 2**30
    assert read.processes_max == 100
    assert read.cpu_seconds_max == 1.5
    assert group.member_files == [tmp_path / "atelier" / "worker" / "cgroup.procs"]


def test_in_version_1_a_group_for_each_controller_lies_within_the_fleets_own(
    tmp_path: Path,
) -> None:
    for controller in ("memory", "pids", "cpu"):
        (tmp_path / controller / "box").mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("4:memory:/box\n8:pids:/box\n1:cpu,cpuacct:/box\n0::/\n")
    group = find_place(root=tmp_path, own_groups=own).group("worker")
    for folder in group.folders:
        folder.mkdir()
    (group.memory / "memory.memsw.limit_in_bytes").write_text("9223372036854771712")

    group.make(LIMITS, cpus=2.0)

    assert group.memory == tmp_path / "memory" / "box" / "atelier" / "worker"
    assert group.limits.memory_bytes_max == 2**30
    assert group.limits.memory_and_swap_bytes_max == 2**30
    assert group.limits.processes_max == 100
    assert (group.cpu / "cpu.cfs_quota_us").read_text() == "200000"
    # A file of a test is no file of the kernel's, where the quota is there from the beginning.
    assert group.limits.cpu_seconds_max == 2.0


def test_limits_that_nobody_set_read_as_none(tmp_path: Path) -> None:
    place = ControlGroupPlace(tmp_path, tmp_path, tmp_path)
    (tmp_path / "memory.limit_in_bytes").write_text("9223372036854771712")
    (tmp_path / "pids.max").write_text("max")
    (tmp_path / "cpu.cfs_quota_us").write_text("-1")

    assert place.limits.memory_bytes_max is None
    assert place.limits.processes_max is None
    assert place.limits.cpu_seconds_max is None


def test_a_controller_that_is_missing_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory pids")

    with pytest.raises(LauncherUnavailableError, match="do not bound cpu"):
        find_place(root=tmp_path, own_groups=tmp_path / "own")
