"""Two studios with work on one device: the fleet hands it over, and every image comes."""

import json
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import atelier
from atelier.v1.fleet_service_pb2 import WorkerState
from atelier.v1.image_pb2 import ImageState
from tests.e2e.installations import StartUp, Up, eventually
from tests.e2e.studios import address_of, open_studio
from tests.e2e.test_fleet import MAKE_TINY_MODEL, log_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

# Longer than a turn takes to draw.
IMAGES = 150


@pytest.fixture
def on_one_device(start: StartUp, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Up:
    """An installation with one device and turns of a second."""
    model = directory / "tiny"
    subprocess.run([sys.executable, "-c", MAKE_TINY_MODEL, model], check=True)
    catalogue = directory / "models.toml"
    catalogue.write_text(catalogue.read_text().replace("nobody/nothing", str(model)))
    monkeypatch.setenv("ATELIER_STANDALONE_CPU_DEVICE_COUNT", "1")
    monkeypatch.setenv("ATELIER_STANDALONE_DWELL_SECONDS_MIN", "1")
    monkeypatch.setenv("ATELIER_STANDALONE_DWELL_PER_COLD_START", "0.1")
    return start().runs()


def ready_events(directory: Path) -> list[dict[str, Any]]:
    """Each worker that became ready, with whom it followed and what that took."""
    lines = log_of(directory, "fleet").splitlines()
    return [json.loads(line) for line in lines if '"event": "worker_ready"' in line]


def order(up: Up, key: str) -> str:
    with atelier.Client(address_of(up), api_key=key) as studio:
        return studio.order_job(["a red mug"] * IMAGES).name


def attempts_of(up: Up, key: str, job: str) -> Counter[tuple[str, int]]:
    """How its images ended, and in which attempt."""
    with atelier.Client(address_of(up), api_key=key) as studio:
        studio.wait_for_job(job)
        return Counter(
            (ImageState.Name(image.state), image.receipt.attempt)
            for image in studio.list_images(job)
        )


def test_two_studios_share_one_device_in_turns_and_no_image_is_lost(
    on_one_device: Up, directory: Path
) -> None:
    keys = {tenant: open_studio(on_one_device, tenant) for tenant in ("acme", "zeta")}

    jobs = {tenant: order(on_one_device, key) for tenant, key in keys.items()}
    ended = {tenant: attempts_of(on_one_device, keys[tenant], job) for tenant, job in jobs.items()}

    # Drawn in the first attempt: no handover cost anybody an image.
    assert ended == {
        tenant: Counter({("IMAGE_STATE_SUCCEEDED", 1): IMAGES}) for tenant in ("acme", "zeta")
    }
    turns = ready_events(directory)
    assert len(turns) >= 3
    assert all(turn["cold_start_seconds"] > 0 for turn in turns)
    for before, after in pairwise(turns):
        assert (after["from_tenant"], after["gpu"]) == (before["tenant"], "cpu-0")
        assert after["tenant"] != before["tenant"]
        assert after["drain_seconds"] > 0


def test_an_operator_sees_the_device_sets_its_pace_and_drains_its_worker(
    on_one_device: Up, directory: Path
) -> None:
    open_studio(on_one_device, "acme")
    assert eventually(lambda: len(ready_events(directory)) == 1, seconds=90)
    with atelier.Client(address_of(on_one_device), api_key=on_one_device.operator_key) as operator:
        workers = operator.list_workers()
        operator.set_power_policy(temperature_celsius_max=70, duty_cycle_max=0.5)
        paced = eventually(lambda: next(iter(operator.list_gpus())).duty_cycle == 0.5, seconds=20)
        operator.drain_worker("cpu-0", keep_empty=timedelta(hours=1))
        emptied = eventually(lambda: not operator.list_workers().workers, seconds=30)
        (gpu,) = next(operator.watch_gpus()).gpus

    assert workers.warning.startswith("NO ISOLATION: the workers of acme are plain processes")
    assert [worker.isolated for worker in workers.workers] == [False]
    assert workers.workers[0].state == WorkerState.WORKER_STATE_RUNNING
    assert paced
    assert emptied
    assert gpu.name == "gpus/cpu-0"
    assert gpu.HasField("keep_empty_until_time")
