"""What is held against a worker whose confinement was read back."""

from dataclasses import replace

import pytest

from tenants.launchers.confinement import Confinement
from tenants.launchers.worker_limits import Required, WorkerLimits, differences

REQUIRED = Required(
    user=20_000,
    group=20_000,
    memory_bytes=2**30,
    processes=100,
    cpus=1.5,
    devices=frozenset({"/dev/nvidia0"}),
    writable_mounts=frozenset({"/tmp", "/dev/shm"}),
    own_user_namespace=True,
)
CONFINED = Confinement(
    user=20_000,
    group=20_000,
    other_groups=(),
    capabilities=0,
    no_new_privileges=True,
    seccomp_mode=2,
    own_user_namespace=True,
    network_interfaces=("lo",),
    root_is_read_only=True,
    writable_mounts=("/tmp",),
    devices=("/dev/nvidia0",),
    memory_bytes_max=2**30,
    memory_and_swap_bytes_max=2**30,
    processes_max=100,
    cpu_seconds_max=1.5,
)


def test_nothing_is_held_against_a_worker_that_is_as_it_was_asked_for() -> None:
    assert [*differences(REQUIRED, CONFINED)] == []


@pytest.mark.parametrize(
    ("loose", "told"),
    [
        ({"user": 0}, "it runs as root"),
        ({"other_groups": (0,)}, "it runs as 20000:20000 with the groups (0,)"),
        ({"capabilities": 0x400}, "it has the capabilities 0x400"),
        ({"no_new_privileges": False}, "it could gain privileges"),
        ({"seccomp_mode": 0}, "no seccomp filter is upon it"),
        ({"own_user_namespace": False}, "it is in the host's user namespace"),
        ({"network_interfaces": ("lo", "eth0")}, "it has a network: lo, eth0"),
        ({"root_is_read_only": False}, "its root can be written to"),
        ({"writable_mounts": ("/tmp", "/srv")}, "it can write to /srv"),
        ({"devices": ()}, "it lacks /dev/nvidia0"),
        ({"devices": ("/dev/nvidia0", "/dev/nvidia1")}, "it was given /dev/nvidia1 too"),
        ({"memory_bytes_max": None}, "its memory is limited to None"),
        ({"memory_and_swap_bytes_max": 2**31}, "its memory and swap is limited to 2147483648"),
        ({"processes_max": None}, "its processes are limited to None and not to 100"),
        ({"cpu_seconds_max": 2.0}, "its cores are limited to 2.0 and not to 1.5"),
    ],
)
def test_each_layer_that_is_missing_is_told_in_words(loose: dict[str, object], told: str) -> None:
    found = [*differences(REQUIRED, replace(CONFINED, **loose))]  # pyright: ignore[reportArgumentType]

    assert any(one.startswith(told) for one in found), found


def test_a_worker_has_half_a_core_beside_its_threads_unless_told_otherwise() -> None:
    limits = WorkerLimits(memory_bytes=1, processes=1, tmp_bytes=1)

    assert limits.cpus_for(threads=4) == 4.5
    assert replace(limits, cpus=2.0).cpus_for(threads=4) == 2.0
