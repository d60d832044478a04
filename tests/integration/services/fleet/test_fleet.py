"""The fleet with real brokers; its workers are sleeping processes, for nothing is drawn here."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.fleet.allocation import Allocation, AllocationRules
from services.fleet.backlog import BacklogEstimate
from services.fleet.broker import answers
from services.fleet.brokers import Brokers
from services.fleet.cold_starts import ColdStarts
from services.fleet.departures import Departures
from services.fleet.fleet import Fleet
from services.fleet.fleet_store import (
    BacklogRow,
    Handover,
    SessionRow,
    Situation,
    TenantRow,
    WishRow,
    WorkerRow,
    WorkerState,
)
from services.fleet.inventory import Gpu, GpuKind, Inventory
from services.fleet.workers import WorkerModel, Workers
from tenants.ids import SessionId
from tenants.launchers.child_process import start_child
from tenants.launchers.process_launcher import ProcessLauncher
from tenants.launchers.worker_launcher import StartedWorker, WorkerOrder
from tenants.run_directory import RunDirectory
from tenants.tenant_directories import TenantDirectories

MODELS = {"mini": WorkerModel(path="/mini", batch_slots=4, interactive_slots=1)}
RULES = AllocationRules(dwell_seconds_min=0.3, dwell_per_cold_start=0.01, devices_per_tenant_max=8)
MORNING = datetime(2026, 1, 1, 8, tzinfo=UTC)
OBEDIENT = "import time; time.sleep(600)"
TWICE_ASKED = """
import signal, sys, time
from pathlib import Path
told = Path("{path}")
def ask(*_):
    told.write_text(told.read_text() + ", asked")
    if told.read_text().count("asked") == 2:
        sys.exit()
signal.signal(signal.SIGTERM, ask)
told.write_text("ready")
time.sleep(600)
"""
LEAVES_WHEN_LET = """
import signal, sys, time
from pathlib import Path
def wait(*_):
    while not Path("{go}").exists():
        time.sleep(0.02)
    sys.exit()
signal.signal(signal.SIGTERM, wait)
Path("{ready}").touch()
time.sleep(600)
"""
STUCK = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class SleepingLauncher(ProcessLauncher):
    """Starts processes that do nothing, in the way of the real launcher."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.orders: list[WorkerOrder] = []

    def start(self, order: WorkerOrder) -> StartedWorker:
        self.orders.append(order)
        child = start_child(
            [sys.executable, "-c", self.program],
            environment={},
            log_path=order.log_path,
            death_signal=None,
        )
        return StartedWorker(session_id=order.session_id, process_id=child.pid, child=child)


class Host:
    """One run directory and the fleets that work in it, one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run = RunDirectory(directory / "run")
        self.launcher = SleepingLauncher(OBEDIENT)
        self.fleets: list[Fleet] = []

    def fleet(
        self, *, devices: int = 2, drain_seconds: float = 5.0, end_seconds: float = 5.0
    ) -> "Looking":
        directories = TenantDirectories(self.run)
        fleet = Fleet(
            run=self.run,
            brokers=Brokers(
                run=self.run,
                directories=directories,
                data_directory=self.directory / "brokers",
                log_directory=self.directory,
            ),
            workers=Workers(
                run=self.run,
                launcher=self.launcher,
                directories=directories,
                models=MODELS,
                drain_seconds=drain_seconds,
                end_seconds=end_seconds,
                log_directory=self.directory,
            ),
            departures=Departures(
                run=self.run,
                broker_data_directory=self.directory / "brokers",
                log_directory=self.directory,
            ),
            allocation=Allocation(RULES, ColdStarts(seconds_before_measured=0.01)),
            backlog=BacklogEstimate(picture_seconds_before_measured=10.0),
            models=MODELS,
            cores=4,
            threads_per_worker=None,
        )
        fleet.adopt()
        self.fleets.append(fleet)
        return Looking(fleet, Inventory(configured_ids=[f"cpu-{n}" for n in range(devices)]))


class Looking:
    """A fleet on a host with some devices."""

    def __init__(self, fleet: Fleet, inventory: Inventory) -> None:
        self.fleet = fleet
        self.inventory = inventory

    def look(self, situation: Situation) -> list[WorkerRow]:
        return self.fleet.look(situation, gpus=self.inventory.gpus)

    def end_all(self) -> None:
        self.fleet.end_all()


@pytest.fixture
def host(short_directory: Path) -> Generator[Host]:
    host = Host(short_directory)
    yield host
    for fleet in host.fleets:
        fleet.end_all()


def situation(*tenant_ids: str, backlog: dict[str, int] | None = None) -> Situation:
    return Situation(
        tenants=tuple(
            TenantRow(tenant_id=tenant_id, allowed_models=None, create_time=MORNING)
            for tenant_id in tenant_ids
        ),
        backlog=tuple(
            BacklogRow(
                tenant_id=tenant_id,
                model="mini",
                width=64,
                height=64,
                num_inference_steps=4,
                queued_count=count,
            )
            for tenant_id, count in (backlog or {}).items()
        ),
        sessions=(),
    )


def silent_session(session_id: SessionId) -> SessionRow:
    return session_row("acme", "cpu-0", session_id, silent=True)


def session_row(
    tenant_id: str, gpu_id: str, session_id: SessionId, *, silent: bool = False
) -> SessionRow:
    return SessionRow(
        tenant_id=tenant_id,
        gpu_id=gpu_id,
        session_id=session_id,
        model="mini",
        process_id=1,
        start_time=datetime.now(UTC),
        ready=True,
        silent=silent,
    )


def holders(workers: list[WorkerRow]) -> dict[str, str]:
    return {worker.gpu_id: worker.tenant_id for worker in workers if worker.process_id is not None}


def process_ids(workers: list[WorkerRow]) -> dict[str, int | None]:
    return {worker.tenant_id: worker.process_id for worker in workers}


def eventually(look: Callable[[], bool], *, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_new_tenant_gets_directory_broker_and_worker_while_the_fleet_runs(host: Host) -> None:
    fleet = host.fleet()
    fleet.look(situation("acme"))

    workers = fleet.look(situation("acme", "zeta"))

    assert holders(workers) == {"cpu-0": "acme", "cpu-1": "zeta"}
    assert answers(host.run.broker_socket("zeta"))
    assert host.run.gpu_directory("zeta", "cpu-1").is_dir()
    assert [order.threads for order in host.launcher.orders] == [4, 2]


def test_a_killed_worker_is_started_again(host: Host) -> None:
    fleet = host.fleet()
    before = fleet.look(situation("acme"))
    os.kill(before[0].process_id or 0, signal.SIGKILL)

    def restarted() -> bool:
        return process_ids(fleet.look(situation("acme"))) not in (
            process_ids(before),
            {"acme": None},
        )

    assert eventually(restarted)
    assert fleet.look(situation("acme"))[0].restart_count == 1


def test_a_worker_that_keeps_dying_is_started_less_and_less_often(host: Host) -> None:
    host.launcher.program = "raise SystemExit(1)"
    fleet = host.fleet()

    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:
        fleet.look(situation("acme"))
        time.sleep(0.02)

    assert 2 <= len(host.launcher.orders) <= 4


def test_a_killed_broker_is_started_again_with_the_workers_left_alone(host: Host) -> None:
    fleet = host.fleet()
    before = fleet.look(situation("acme"))
    (note,) = (host.run.fleet_directory / "brokers").glob("acme.json")
    broker_pid = int(note.read_text().split('"pid":')[1].split(",")[0])
    os.kill(broker_pid, signal.SIGKILL)

    def serves_again() -> bool:
        fleet.look(situation("acme"))
        return answers(host.run.broker_socket("acme"))

    assert eventually(serves_again)
    assert process_ids(fleet.look(situation("acme"))) == process_ids(before)


def test_nothing_is_left_here_of_a_tenant_that_leaves_and_all_of_its_neighbour(host: Host) -> None:
    fleet = host.fleet()
    fleet.look(situation("acme", "acme-2"))
    departed: list[str] = []

    def gone() -> bool:
        fleet.look(replace(situation("acme-2"), leaving=("acme",)))
        departed.extend(fleet.fleet.take_departed())
        return bool(departed)

    # Not before its worker has ended, however long that one drains.
    assert eventually(gone)
    assert departed == ["acme"]
    assert not host.run.tenant_directory("acme").exists()
    assert not (host.directory / "brokers" / "acme").exists()
    assert not list(host.directory.glob("*-acme-cpu-0.log"))
    assert not (host.directory / "broker-acme.log").exists()
    assert answers(host.run.broker_socket("acme-2"))
    assert (host.directory / "brokers" / "acme-2").is_dir()
    assert (host.directory / "worker-acme-2-cpu-1.log").exists()
    assert (host.directory / "broker-acme-2.log").exists()


def test_a_fleet_that_comes_back_adopts_what_runs(host: Host) -> None:
    before = host.fleet().look(situation("acme", "zeta"))

    after = host.fleet().look(situation("acme", "zeta"))

    assert process_ids(after) == process_ids(before)
    assert len(host.launcher.orders) == 2


def test_what_died_while_no_fleet_ran_is_started_by_the_next(host: Host) -> None:
    before = host.fleet().look(situation("acme", "zeta"))
    zeta = process_ids(before)["zeta"] or 0
    os.kill(zeta, signal.SIGKILL)
    os.waitpid(zeta, 0)

    after = host.fleet().look(situation("acme", "zeta"))

    assert process_ids(after)["acme"] == process_ids(before)["acme"]
    assert process_ids(after)["zeta"] not in (None, zeta)


def test_a_device_changes_hands_when_its_tenant_has_no_work_and_another_has(host: Host) -> None:
    fleet = host.fleet(devices=1)
    fleet.look(situation("acme", "zeta"))

    work = situation("acme", "zeta", backlog={"zeta": 3})

    assert eventually(lambda: holders(fleet.look(work)) == {"cpu-0": "zeta"})
    assert not host.run.gpu_directory("acme", "cpu-0").exists()


def test_a_worker_that_fell_silent_is_replaced_while_the_recorder_serves(host: Host) -> None:
    fleet = host.fleet()
    (before,) = fleet.look(situation("acme"))
    silence = replace(
        situation("acme"), sessions=(silent_session(host.launcher.orders[-1].session_id),)
    )

    fleet.look(silence)
    without_recorder = fleet.look(situation("acme"))
    with socket.socket(socket.AF_UNIX) as recorder:
        recorder.bind(str(host.run.recorder_gateway_socket))
        recorder.listen()
        fleet.look(silence)

    assert process_ids(without_recorder) == {"acme": before.process_id}
    assert eventually(
        lambda: process_ids(fleet.look(situation("acme")))["acme"] not in (None, before.process_id)
    )


def test_a_worker_that_is_not_done_in_time_is_asked_once_more_before_it_is_killed(
    host: Host,
) -> None:
    told = host.directory / "told"
    host.launcher.program = TWICE_ASKED.format(path=told)
    fleet = host.fleet(devices=1, drain_seconds=600.0, end_seconds=4.0)
    fleet.look(situation("acme"))
    assert eventually(told.exists)

    fleet.end_all()

    assert told.read_text() == "ready, asked, asked"


def test_a_worker_that_does_not_drain_is_killed(host: Host) -> None:
    host.launcher.program = STUCK
    fleet = host.fleet(devices=1, end_seconds=0.5)
    (before,) = fleet.look(situation("acme"))
    # Time for the program to begin to ignore SIGTERM.
    time.sleep(0.3)

    fleet.end_all()

    assert not Path(f"/proc/{before.process_id}").exists()


def test_the_fleets_end_can_take_everything_with_it(host: Host) -> None:
    fleet = host.fleet()
    workers = fleet.look(situation("acme", "zeta"))

    fleet.end_all()

    assert not any(Path(f"/proc/{worker.process_id}").exists() for worker in workers)
    assert not answers(host.run.broker_socket("acme"))


def ready_sessions(host: Host) -> tuple[SessionRow, ...]:
    return tuple(
        session_row(order.tenant_id, order.gpu_id, order.session_id)
        for order in host.launcher.orders
    )


def test_two_tenants_with_work_take_turns_on_one_device_and_each_turn_is_timed(host: Host) -> None:
    fleet = host.fleet(devices=1)
    work = situation("acme", "zeta", backlog={"acme": 900, "zeta": 3})
    workers = fleet.look(work)
    turns = [*holders(workers).values()]
    handovers: list[Handover] = []

    def three_turns() -> bool:
        nonlocal workers
        workers = fleet.look(replace(work, sessions=ready_sessions(host)))
        handovers.extend(fleet.fleet.take_handovers())
        turns.extend(tenant for tenant in holders(workers).values() if tenant != turns[-1])
        return len(handovers) == 3

    assert eventually(three_turns)
    assert turns[:3] == ["acme", "zeta", "acme"]
    assert [(one.from_tenant_id, one.tenant_id) for one in handovers] == [
        (None, "acme"),
        ("acme", "zeta"),
        ("zeta", "acme"),
    ]
    assert all(one.cold_start_seconds >= 0 for one in handovers)
    assert handovers[1].drain_seconds is not None


def test_a_drained_worker_ends_and_another_takes_its_post(host: Host) -> None:
    ready, go = host.directory / "ready", host.directory / "go"
    host.launcher = SleepingLauncher(LEAVES_WHEN_LET.format(ready=ready, go=go))
    fleet = host.fleet(drain_seconds=60.0)
    (before,) = fleet.look(situation("acme"))
    assert eventually(ready.exists)
    wish = WishRow(gpu_id="cpu-0", drain_wish_time=MORNING, keep_empty=False)

    (draining,) = fleet.look(replace(situation("acme"), wishes=(wish,)))
    go.touch()

    assert (draining.process_id, draining.state) == (before.process_id, WorkerState.DRAINING)
    assert eventually(
        lambda: process_ids(fleet.look(situation("acme")))["acme"] not in (None, before.process_id)
    )
    (after,) = fleet.look(situation("acme"))
    assert (after.state, after.restart_count) == (WorkerState.STARTING, 0)


def test_a_device_that_is_kept_empty_is_nobodys(host: Host) -> None:
    fleet = host.fleet(devices=1)
    fleet.look(situation("acme"))
    wish = WishRow(gpu_id="cpu-0", drain_wish_time=None, keep_empty=True)
    kept_empty = replace(situation("acme", backlog={"acme": 3}), wishes=(wish,))

    assert eventually(lambda: holders(fleet.look(kept_empty)) == {})
    assert fleet.look(situation("acme"))[0].tenant_id == "acme"


def test_a_card_is_given_out_once_its_name_is_known_and_the_worker_is_told_it(host: Host) -> None:
    fleet = host.fleet()
    fleet.inventory = Inventory(configured_ids=["gpu-0"])

    before = fleet.look(situation("acme"))
    fleet.inventory.take([Gpu(gpu_id="gpu-0", kind=GpuKind.NVIDIA, device_uuid="GPU-5a")])
    after = fleet.look(situation("acme"))

    assert holders(before) == {}
    assert holders(after) == {"gpu-0": "acme"}
    assert [order.device_uuid for order in host.launcher.orders] == ["GPU-5a"]


def test_a_tenant_with_much_work_gets_several_cards_but_one_share_of_the_processor(
    host: Host,
) -> None:
    fleet = host.fleet()
    cards = [
        Gpu(gpu_id=f"gpu-{number}", kind=GpuKind.NVIDIA, device_uuid=f"GPU-{number}")
        for number in range(2)
    ]

    on_processor = fleet.look(situation("acme", backlog={"acme": 900}))
    fleet.inventory = Inventory(configured_ids=[])
    fleet.inventory.take(cards)
    fleet.look(situation("acme", backlog={"acme": 900}))

    assert holders(on_processor) == {"cpu-0": "acme"}
    assert eventually(
        lambda: (
            holders(fleet.look(situation("acme", backlog={"acme": 900})))
            == {"gpu-0": "acme", "gpu-1": "acme"}
        )
    )
