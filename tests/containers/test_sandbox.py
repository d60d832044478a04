"""Two studios' workers in sandboxes of bubblewrap: they draw, and attack in vain."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tenants.ids import SessionId
from tenants.launchers import sandbox_launcher
from tenants.launchers.errors import WorkerRefusedError
from tenants.launchers.sandbox_launcher import SandboxLauncher
from tenants.launchers.worker_launcher import WorkerOrder
from tenants.launchers.worker_limits import WorkerLimits
from tests.containers.two_studios import (
    ATTACK_SECONDS,
    ATTACKER,
    ATTACKS,
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

# As the setting's default.
FIRST_USER = 520_000
LIMITS = WorkerLimits(memory_bytes=MEMORY_BYTES, processes=PROCESSES, tmp_bytes=2**28)
SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


def launcher(program: tuple[str, ...]) -> SandboxLauncher:
    launcher = SandboxLauncher(LIMITS, first_user=FIRST_USER, program=program)
    launcher.check()
    return launcher


@pytest.fixture
def order(sandboxed: TwoStudios, tmp_path: Path) -> WorkerOrder:
    """One more worker for the attacker, in its own directory."""
    return WorkerOrder(
        session_id=SessionId(f"test{tmp_path.stat().st_ino}"),
        tenant_id=ATTACKER,
        gpu_id="cpu-0",
        device_uuid="",
        model_name="atelier-mini",
        model_path=str(ROOT / "deploy" / "models" / "atelier-mini"),
        tenant_directory=sandboxed.run.tenant_directory(ATTACKER),
        batch_slots=1,
        interactive_slots=1,
        threads=1,
        drain_seconds=1.0,
        log_path=tmp_path / "log",
        mark=sandboxed.run.mark,
    )


def test_each_studio_draws_in_a_sandbox_as_a_user_of_its_own(sandboxed: TwoStudios) -> None:
    workers = sandboxed.workers()
    users = {
        tenant: Path(f"/proc/{worker.process_id}").stat().st_uid
        for tenant, worker in workers.items()
    }

    for tenant in (ATTACKER, NEIGHBOUR):
        assert_is_a_picture(sandboxed, tenant, sandboxed.draw(tenant))

    assert {worker.launcher for worker in workers.values()} == {"sandbox"}
    assert all(worker.isolated for worker in workers.values())
    assert sorted(users.values()) == [FIRST_USER, FIRST_USER + 1]


def test_every_attack_from_inside_fails_and_the_neighbour_keeps_drawing(
    sandboxed: TwoStudios, order: WorkerOrder
) -> None:
    target = target_of(
        sandboxed,
        tenant_directory="/run/tenant",
        code=str(ROOT / "services"),
        model="/run/model",
        foreign_devices=["/dev/nvidia0", "/dev/vda"],
        more_foreign_paths=["/home", "/srv", "/var/lib", str(ROOT / "tests")],
    )
    attacker = launcher((sys.executable, "-c", ATTACKS.read_text(), target))

    with ThreadPoolExecutor(1) as neighbour:
        drawing = neighbour.submit(
            lambda: [sandboxed.draw(NEIGHBOUR) for _ in range(LONG_JOB_IMAGES)]
        )
        worker = attacker.start(order)
        assert eventually(lambda: not attacker.is_running(worker), seconds=ATTACK_SECONDS)
        drawn = drawing.result()

    found = outcomes(order.log_path.read_text())
    print("\n".join(f"{name}: {outcome}" for name, outcome in found.items()))
    assert successes(found) == {}
    assert "memory hog" in found, order.log_path.read_text()
    assert len(found) > 80
    for image in drawn:
        assert_is_a_picture(sandboxed, NEIGHBOUR, image)
    assert_is_a_picture(sandboxed, ATTACKER, sandboxed.draw(ATTACKER))


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        (("--unshare-net",), "it has a network"),
        (("--seccomp", "FILE"), "no seccomp filter is upon it"),
        (("--remount-ro", "/"), "its root can be written to"),
        (("--bounding-set=-all",), "it has the capabilities"),
        (("--clear-groups",), "it ended before it had begun"),
    ],
)
def test_a_sandbox_with_a_layer_missing_is_refused_and_nothing_of_it_runs(
    left_out: tuple[str, ...], told: str, order: WorkerOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sandbox_launcher.sandbox_command

    def weakened(*arguments: object, **options: object) -> list[str]:
        return without(whole(*arguments, **options), left_out)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(sandbox_launcher, "sandbox_command", weakened)
    monkeypatch.setattr(sandbox_launcher, "_START_SECONDS", 5.0)
    weak = launcher(SLEEP)

    with pytest.raises(WorkerRefusedError, match=told):
        weak.start(order)

    assert [*environments_with(str(order.session_id))] == []


def environments_with(word: str) -> Iterator[Path]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if word.encode() in path.read_bytes():
                yield path


def without(command: list[str], words: tuple[str, ...]) -> list[str]:
    """Leave the words out where they stand one after the other; FILE stands for any number."""
    for start in range(len(command)):
        part = command[start : start + len(words)]
        if all(one in ("FILE", other) for one, other in zip(words, part, strict=True)):
            return command[:start] + command[start + len(words) :]
    raise AssertionError(f"the command has no {words}")


def test_a_model_of_a_hub_is_refused_before_anything_starts(order: WorkerOrder) -> None:
    with pytest.raises(WorkerRefusedError, match="no folder"):
        launcher(SLEEP).start(replace(order, model_path="somebody/something"))
