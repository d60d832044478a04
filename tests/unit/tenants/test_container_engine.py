"""Which engines are refused, and in which words. The answers were recorded from Docker 26.1.5."""

from pathlib import Path

import pytest

from tenants.launchers.cdi import CdiDevice
from tenants.launchers.container_engine import (
    check_image_name,
    check_nvidia_toolkit,
    examine_engine,
    limits_on,
)
from tenants.launchers.errors import LauncherUnavailableError, WorkerRefusedError
from tenants.launchers.worker_limits import WorkerLimits

VERSION = {"Version": "26.1.5+dfsg1", "Components": [{"Name": "Engine"}, {"Name": "runc"}]}
ABOUT = {
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=userns"],
    "DockerRootDir": "/var/lib/docker/1000000.1000000",
    "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
    "MemoryLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "NCPU": 4,
}
DIGEST = "sha256:" + "ab" * 32


def test_an_engine_with_all_layers_tells_how_it_numbers_users_and_where_gpus_are_described() -> (
    None
):
    engine = examine_engine(VERSION, ABOUT)

    assert engine.user_offset == 1_000_000
    assert engine.cdi_folders == (Path("/etc/cdi"), Path("/var/run/cdi"))
    assert engine.cores == 4


def test_an_engine_without_user_namespaces_is_used_as_it_is() -> None:
    plain = {**ABOUT, "SecurityOptions": ["name=seccomp,profile=builtin"]}

    assert not examine_engine(VERSION, plain).has_user_namespaces


@pytest.mark.parametrize(("threads", "cores"), [(1, 1.5), (3, 3.5), (4, 4.0), (9, 4.0)])
def test_a_worker_is_never_to_have_more_cores_than_the_engine_has(
    threads: int, cores: float
) -> None:
    limits = WorkerLimits(memory_bytes=1, processes=1, tmp_bytes=1)

    assert limits_on(examine_engine(VERSION, ABOUT), limits, threads=threads).cpus == cores


@pytest.mark.parametrize(
    ("version", "about", "told"),
    [
        ({"Version": "20.10.24"}, {}, "needs Docker Engine >= 25; this one is 20.10.24"),
        ({"Version": "5.4", "Components": [{"Name": "Podman Engine"}]}, {}, "This is Podman"),
        ({}, {"SecurityOptions": []}, "The engine has no seccomp"),
        ({}, {"MemoryLimit": False}, "cannot limit memory"),
        ({}, {"PidsLimit": False}, "cannot limit processes"),
        ({}, {"CpuCfsQuota": False}, "cannot limit cores"),
        ({}, {"DockerRootDir": "/srv/docker"}, "does not say to which numbers"),
    ],
)
def test_an_engine_with_a_layer_missing_is_refused(
    version: dict[str, object], about: dict[str, object], told: str
) -> None:
    with pytest.raises(LauncherUnavailableError, match=told):
        examine_engine({**VERSION, **version}, {**ABOUT, **about})


@pytest.mark.parametrize("name", [DIGEST, f"registry.example/atelier/worker@{DIGEST}"])
def test_an_image_is_named_by_its_digest(name: str) -> None:
    check_image_name(name)


@pytest.mark.parametrize("name", ["", "atelier/worker", "atelier/worker:1.0", "sha256:abcd"])
def test_an_image_that_may_be_another_one_tomorrow_is_refused(name: str) -> None:
    with pytest.raises(LauncherUnavailableError, match="named by digest"):
        check_image_name(name)


def card(*hooks: str) -> CdiDevice:
    return CdiDevice(
        name="nvidia.com/gpu=0", nodes=frozenset({"/dev/nvidia0"}), hooks=frozenset(hooks)
    )


def no_program(_path: str) -> str:
    raise FileNotFoundError("no such file")


def test_a_toolkit_that_containers_can_break_out_of_is_refused() -> None:
    with pytest.raises(WorkerRefusedError, match=r"NVIDIA container toolkit .*1\.17\.7"):
        check_nvidia_toolkit(
            card("/usr/bin/nvidia-cdi-hook"), lambda _path: "CDI Hook CLI version 1.17.7"
        )


def test_a_toolkit_that_cannot_be_asked_is_refused() -> None:
    with pytest.raises(WorkerRefusedError, match="ATELIER_FLEET_NVIDIA_TOOLKIT_VERSION"):
        check_nvidia_toolkit(card("/usr/bin/nvidia-ctk"), no_program)


def test_a_mended_toolkit_is_taken_and_a_device_without_hooks_needs_none() -> None:
    check_nvidia_toolkit(card("/usr/bin/nvidia-cdi-hook"), lambda _path: "version 1.17.8")
    check_nvidia_toolkit(card(), no_program)
