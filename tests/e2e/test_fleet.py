"""The fleet's processes under a whole installation: adopted, replaced, ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import atelier
from atelier.v1.tenant_service_pb2 import Tenant
from services.standalone.directories import make_run_directory
from tests.e2e.installations import StartUp, Up, eventually, processes_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

MAKE_TINY_MODEL = """
import sys
from pathlib import Path
from services.engine.random_checkpoint import SMALLEST_SHAPE, ensure_random_checkpoint
ensure_random_checkpoint(Path(sys.argv[1]), shape=SMALLEST_SHAPE)
"""


@pytest.fixture
def with_a_tenant(start: StartUp, directory: Path) -> Up:
    """An installation whose only tenant has a worker that is ready to draw."""
    model = directory / "tiny"
    subprocess.run([sys.executable, "-c", MAKE_TINY_MODEL, model], check=True)
    catalogue = directory / "models.toml"
    catalogue.write_text(catalogue.read_text().replace("nobody/nothing", str(model)))
    up = start().runs()
    host, port = up.address
    with atelier.Client(f"{host}:{port}", api_key=up.operator_key) as operator:
        operator.create_tenant("acme", Tenant(display_name="Acme", currency_code="EUR"))
    assert eventually(lambda: worker_is_ready(directory), seconds=60), log_of(directory, "fleet")
    return up


def log_of(directory: Path, name: str) -> str:
    path = directory / "data" / "logs" / f"{name}.log"
    return path.read_text() if path.exists() else ""


def worker_is_ready(directory: Path) -> bool:
    return '"event": "ready"' in log_of(directory, "worker-acme-cpu-0")


def noted_process_ids(directory: Path) -> dict[str, int]:
    """What the fleet notes of its own children, by kind."""
    notes = make_run_directory(directory / "data").fleet_directory
    broker = json.loads((notes / "brokers" / "acme.json").read_text())
    worker = json.loads((notes / "workers" / "cpu-0.json").read_text())
    return {"brokers": broker["child"]["pid"], "workers": worker["started"]["process_id"]}


def test_a_fleet_that_was_killed_comes_back_and_adopts_broker_and_worker(
    with_a_tenant: Up, directory: Path
) -> None:
    before = noted_process_ids(directory)
    fleet = with_a_tenant.process_id("fleet")

    os.kill(fleet, signal.SIGKILL)

    assert eventually(lambda: "worker_adopted" in log_of(directory, "fleet"), seconds=30)
    assert with_a_tenant.process_id("fleet") != fleet
    assert noted_process_ids(directory) == before
    assert all(psutil.pid_exists(process_id) for process_id in before.values())
    assert with_a_tenant.stop() == 0
    assert processes_of(directory) == []


def test_after_kill_9_of_everything_above_them_workers_and_brokers_end_too(
    with_a_tenant: Up, directory: Path
) -> None:
    running = {process.pid for process in processes_of(directory)}
    assert set(noted_process_ids(directory).values()) <= running

    with_a_tenant.process.kill()
    with_a_tenant.process.wait()

    assert eventually(lambda: processes_of(directory) == [], seconds=60)


def test_a_killed_worker_is_replaced_by_one_that_gets_ready(
    with_a_tenant: Up, directory: Path
) -> None:
    before = noted_process_ids(directory)["workers"]

    os.kill(before, signal.SIGKILL)

    log = "worker-acme-cpu-0"
    assert eventually(lambda: log_of(directory, log).count('"event": "ready"') == 2, seconds=60)
    assert noted_process_ids(directory)["workers"] != before
