"""Two studios' workers in containers of a real Docker engine: they draw, and attack in vain."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import ContainerCollection

from tenants.ids import SessionId
from tenants.launchers.container_launcher import ContainerLauncher, ContainerOptions
from tenants.launchers.errors import WorkerRefusedError
from tenants.launchers.worker_launcher import WorkerOrder
from tenants.launchers.worker_limits import WorkerLimits
from tests.containers.docker_engine import GPUS, DockerEngine
from tests.containers.two_studios import (
    ATTACK_SECONDS,
    ATTACKER,
    ATTACKS,
    GPU_OF_DEVICE,
    LONG_JOB_IMAGES,
    MEMORY_BYTES,
    NEIGHBOUR,
    PROCESSES,
    ROOT,
    TwoStudios,
    assert_is_a_picture,
    outcomes,
    successes,
    target_of,
)
from tests.e2e.installations import eventually

pytestmark = pytest.mark.timeout(1500)


def container_of(engine: DockerEngine, tenant: str) -> str:
    return engine.docker("ps", "--quiet", "--filter", f"name=atelier-worker-{tenant}-").strip()


def test_each_studio_draws_in_a_container_with_a_gpu_of_its_own(
    contained: TwoStudios, engine: DockerEngine
) -> None:
    workers = contained.workers()
    devices = {
        tenant: engine.docker("exec", container_of(engine, tenant), "ls", "/dev").split()
        for tenant in (ATTACKER, NEIGHBOUR)
    }
    gpus = {tenant: {name for name in devices[tenant] if "nvidia" in name} for tenant in devices}

    for tenant in (ATTACKER, NEIGHBOUR):
        assert_is_a_picture(contained, tenant, contained.draw(tenant))

    assert {worker.launcher for worker in workers.values()} == {"container"}
    assert all(
        worker.isolated and "own user namespace" in worker.isolation for worker in workers.values()
    )
    assert sorted(gpus.values(), key=str) == [{"nvidia0"}, {"nvidia1"}]


def test_every_attack_from_inside_fails_and_the_neighbour_keeps_drawing(
    contained: TwoStudios, engine: DockerEngine
) -> None:
    own_gpu = GPU_OF_DEVICE[contained.workers()[ATTACKER].name.split("/")[1]]
    target = target_of(
        contained,
        tenant_directory="/run/tenant",
        code="/opt/atelier",
        model="/run/model",
        foreign_devices=[path for name, path in GPUS.items() if name != own_gpu],
        more_foreign_paths=[str(engine.folder)],
    )

    with ThreadPoolExecutor(1) as neighbour:
        drawing = neighbour.submit(
            lambda: [contained.draw(NEIGHBOUR) for _ in range(LONG_JOB_IMAGES)]
        )
        done = attack(engine, container_of(engine, ATTACKER), target)
        drawn = drawing.result()

    found = outcomes(done.stdout)
    print("\n".join(f"{name}: {outcome}" for name, outcome in found.items()))
    assert successes(found) == {}
    assert "fork bomb" in found, done.stderr
    assert len(found) > 80
    for image in drawn:
        assert_is_a_picture(contained, NEIGHBOUR, image)
    assert eventually(lambda: ATTACKER in contained.workers(), seconds=60)
    assert_is_a_picture(contained, ATTACKER, contained.draw(ATTACKER))


def attack(engine: DockerEngine, container: str, target: str) -> subprocess.CompletedProcess[str]:
    """Run the attacks with the worker's own rights; the memory hog may take them down with it."""
    return subprocess.run(
        [
            engine.packages.program("usr/bin/docker"),
            *("exec", container, "python", "-c", ATTACKS.read_text(), target),
        ],
        env=engine.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=ATTACK_SECONDS,
    )


def test_a_worker_that_is_killed_is_replaced_by_another_container(
    contained: TwoStudios, engine: DockerEngine
) -> None:
    before = container_of(engine, ATTACKER)

    engine.docker("kill", before)

    assert eventually(
        lambda: (
            container_of(engine, ATTACKER) not in ("", before) and ATTACKER in contained.workers()
        ),
        seconds=120,
    )
    assert_is_a_picture(contained, ATTACKER, contained.draw(ATTACKER))


@pytest.fixture
def launcher(
    engine: DockerEngine, images: dict[str, str], contained: TwoStudios
) -> ContainerLauncher:
    options = ContainerOptions(
        image=images["worker"],
        limits=WorkerLimits(memory_bytes=MEMORY_BYTES, processes=PROCESSES, tmp_bytes=2**28),
        cdi_devices={"cpu-0": "nvidia.com/gpu=0", "cpu-1": "nvidia.com/gpu=9"},
        engine_url=engine.url,
    )
    launcher = ContainerLauncher(options, {"MARK": "of this test"})
    launcher.check()
    return launcher


@pytest.fixture
def order(contained: TwoStudios, tmp_path: Path) -> WorkerOrder:
    """One more worker for the attacker, in its own directory."""
    return WorkerOrder(
        session_id=SessionId(f"test{tmp_path.stat().st_ino}"),
        tenant_id=ATTACKER,
        gpu_id="cpu-0",
        device_uuid="",
        model_name="atelier-mini",
        model_path=str(ROOT / "deploy" / "models" / "atelier-mini"),
        tenant_directory=contained.run.tenant_directory(ATTACKER),
        batch_slots=1,
        interactive_slots=1,
        threads=1,
        drain_seconds=1.0,
        log_path=tmp_path / "log",
        mark={"MARK": "of this test"},
    )


@pytest.mark.parametrize(
    ("weakened", "told"),
    [
        ({"read_only": False}, "its root can be written to"),
        ({"cap_drop": []}, "it has the capabilities"),
        ({"security_opt": ["no-new-privileges:true", "seccomp=unconfined"]}, "no seccomp filter"),
        ({"security_opt": []}, "it could gain privileges"),
        ({"mem_limit": "4g", "memswap_limit": "4g"}, "its memory is limited to"),
        ({"memswap_limit": -1}, "its memory and swap is limited to"),
        ({"pids_limit": -1}, "its processes are limited to None"),
        ({"nano_cpus": 0}, "its cores are limited to None"),
        ({"user": "0:0"}, "it runs as root"),
        ({"userns_mode": "host", "user": "20000:20000"}, "in the host's user namespace"),
        ({"volumes": ["/tmp:/srv"]}, "it can write to /srv"),
        ({"device_requests": []}, "it lacks /dev/nvidia0"),
    ],
)
def test_a_container_with_a_layer_missing_is_refused_and_removed(
    weakened: dict[str, Any],
    told: str,
    launcher: ContainerLauncher,
    engine: DockerEngine,
    order: WorkerOrder,
) -> None:
    create: Any = ContainerCollection.create

    def weaker(containers: ContainerCollection, **asked: Any) -> object:
        return create(containers, **{**asked, **weakened})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContainerCollection, "create", weaker)

        with pytest.raises(WorkerRefusedError, match=told):
            launcher.start(order)

    assert of_this_test(engine) == ""


def of_this_test(engine: DockerEngine) -> str:
    label = "label=atelier.run-directory=of this test"
    return engine.docker("ps", "--all", "--quiet", "--filter", label)


def test_a_device_that_nobody_described_is_refused_in_words(
    launcher: ContainerLauncher, order: WorkerOrder, engine: DockerEngine
) -> None:
    with pytest.raises(WorkerRefusedError, match="No CDI description"):
        launcher.start(replace(order, gpu_id="cpu-1"))

    assert of_this_test(engine) == ""


def test_containers_that_a_fleet_lost_sight_of_are_removed(
    launcher: ContainerLauncher, order: WorkerOrder, engine: DockerEngine
) -> None:
    kept = launcher.start(order)
    launcher.start(replace(order, session_id=SessionId("lost-and-forgotten")))

    launcher.forget_others([kept])

    assert of_this_test(engine).split() == [(kept.container_id or "")[:12]]
    launcher.kill(kept)
    assert eventually(lambda: not launcher.is_running(kept), seconds=30)
    assert of_this_test(engine) == ""
