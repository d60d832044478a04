"""The launcher of containers beside an engine that is not there."""

import docker
import pytest
from docker.errors import DockerException
from requests import RequestException

from tenants.ids import SessionId
from tenants.launchers.container_launcher import ContainerLauncher, ContainerOptions
from tenants.launchers.errors import LauncherUnavailableError
from tenants.launchers.worker_launcher import StartedWorker
from tenants.launchers.worker_limits import WorkerLimits

WORKER = StartedWorker(session_id=SessionId("5e55"), process_id=7, container_id="c0ffee")


def launcher(*, image: str = "sha256:" + "ab" * 32) -> ContainerLauncher:
    options = ContainerOptions(
        image=image,
        limits=WorkerLimits(memory_bytes=1, processes=1, tmp_bytes=1),
        engine_url="unix:///nowhere.sock",
    )
    return ContainerLauncher(options, {"ATELIER_RUN_DIRECTORY": "/run/atelier"})


def test_without_an_engine_the_fleet_is_told_what_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody_there(**_options: object) -> None:
        raise DockerException("no such file")

    # The library leaves its socket open when it cannot connect, so it does not get to try.
    monkeypatch.setattr(docker, "DockerClient", nobody_there)

    with pytest.raises(LauncherUnavailableError, match=r"needs Docker Engine >= 25, and none"):
        launcher().check()


def test_an_image_without_a_digest_is_refused_before_the_engine_is_asked() -> None:
    with pytest.raises(LauncherUnavailableError, match="named by digest"):
        launcher(image="atelier/worker:latest").check()


def test_a_worker_is_not_believed_dead_because_the_engine_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_answer(_launcher: ContainerLauncher, _worker: StartedWorker) -> None:
        raise RequestException("connection refused")

    monkeypatch.setattr(ContainerLauncher, "_find", no_answer)
    orphaned = launcher()

    orphaned.ask_to_end(WORKER)

    assert orphaned.is_running(WORKER)
