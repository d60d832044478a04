"""Two studios whose workers are kept apart, and what an attacker knows of the other."""

import io
import json
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image as Pictures

import atelier
from atelier.v1.fleet_service_pb2 import Worker, WorkerState
from atelier.v1.image_pb2 import Image, ImageSpec, ImageState
from atelier.v1.job_service_pb2 import JobSpec
from services.standalone.directories import make_run_directory
from tenants.run_directory import RunDirectory
from tests.containers.docker_engine import GPUS
from tests.e2e.installations import Up, eventually, processes_of
from tests.e2e.studios import address_of, open_studio

ROOT: Final = Path(__file__).resolve().parents[2]
ATTACKS: Final = Path(__file__).with_name("attacks.py")
ATTACKER, NEIGHBOUR = "acme", "zeta"
MEMORY_BYTES: Final = 3 * 1024**3
PROCESSES: Final = 200
READY_SECONDS: Final = 180
ATTACK_SECONDS: Final = 300
SPEC: Final = ImageSpec(
    prompt="a red mug on a wooden table", width=128, height=128, num_inference_steps=8, seed=7
)
# In containers: which of the fake GPUs stands for which device.
GPU_OF_DEVICE: Final[Mapping[str, str]] = dict(zip(("cpu-0", "cpu-1"), GPUS, strict=True))
# Enough of it that whatever an attacker does falls into the time it is drawn in.
LONG_JOB_IMAGES: Final = 12
SETTINGS: Final[Mapping[str, str]] = {
    "ATELIER_FLEET_WORKER_MEMORY_GB": str(MEMORY_BYTES / 1024**3),
    "ATELIER_FLEET_WORKER_PROCESSES_MAX": str(PROCESSES),
    "ATELIER_FLEET_WORKER_TMP_GB": "0.25",
    "ATELIER_STANDALONE_CPU_DEVICE_COUNT": "2",
    "ATELIER_STANDALONE_THREADS_PER_WORKER": "1",
    # A GPU that two studios have work for changes hands while a test looks on.
    "ATELIER_STANDALONE_DWELL_SECONDS_MIN": "5",
    "ATELIER_STANDALONE_DWELL_PER_COLD_START": "0.1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoStudios:
    """An installation with two studios, each with a worker that is ready."""

    up: Up
    run: RunDirectory
    keys: Mapping[str, str]

    def client(self, tenant: str) -> atelier.Client:
        return atelier.Client(address_of(self.up), api_key=self.keys[tenant])

    def workers(self) -> dict[str, Worker]:
        """Those that are ready to draw, by tenant."""
        with atelier.Client(address_of(self.up), api_key=self.up.operator_key) as operator:
            return {
                worker.tenant.removeprefix("tenants/"): worker
                for worker in operator.list_workers().workers
                if worker.state == WorkerState.WORKER_STATE_RUNNING
            }

    def draw(self, tenant: str) -> Image:
        """Order one picture and wait for it."""
        with self.client(tenant) as client:
            job = client.wait_for_job(client.order_job([JobSpec(image=SPEC)]).name)
            (image,) = client.list_images(job.name)
            return image

    def download(self, tenant: str, image: Image) -> bytes:
        with self.client(tenant) as client:
            return client.download_image(image.name)

    def log_of(self, name: str) -> str:
        path = self.up.directory / "data" / "logs" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def two_studios(workshop: Path, settings: Mapping[str, str]) -> Generator[TwoStudios]:
    """Start an installation with a launcher, and wait until both studios' workers are ready."""
    directory = Path(tempfile.mkdtemp(prefix="up-", dir=workshop))
    directory.chmod(0o755)
    models = (ROOT / "deploy" / "models.toml").read_text()
    path = ROOT / "deploy" / "models" / "atelier-mini"
    (directory / "models.toml").write_text(models.replace("models/atelier-mini", str(path)))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**SETTINGS, **settings}.items():
            patch.setenv(name, value)
        up = Up(directory)
    try:
        up.runs()
        studios = TwoStudios(
            up=up,
            run=make_run_directory(directory / "data"),
            keys={tenant: open_studio(up, tenant) for tenant in (ATTACKER, NEIGHBOUR)},
        )
        assert eventually(lambda: len(studios.workers()) == 2, seconds=READY_SECONDS), (
            studios.log_of("fleet")[-3000:]
        )
        yield studios
    finally:
        if up.process.poll() is None:
            up.stop()
        for process in processes_of(directory):
            process.kill()
        shutil.rmtree(make_run_directory(directory / "data").path)
        shutil.rmtree(directory)


def target_of(
    studios: TwoStudios,
    *,
    tenant_directory: str,
    code: str,
    model: str,
    foreign_devices: Sequence[str] = (),
    more_foreign_paths: Sequence[str] = (),
) -> str:
    """Return what the attacker is told: more than it could find out by itself."""
    neighbours = studios.run.tenant_directory(NEIGHBOUR)
    (gpu,) = [path for path in neighbours.iterdir() if path.is_dir()]
    picture = studios.draw(NEIGHBOUR)
    _, port = studios.up.address
    return json.dumps(
        {
            "services": [["127.0.0.1", port], ["127.0.0.1", 5432], ["192.0.2.1", 80]],
            "foreign_sockets": [
                str(neighbours / "broker.sock"),
                str(neighbours / "recorder.sock"),
                str(gpu / "meter.sock"),
                str(studios.run.recorder_gateway_socket),
                str(studios.run.recorder_meter_socket),
                str(studios.run.meter_socket),
                "/var/run/docker.sock",
            ],
            "foreign_paths": [
                str(neighbours),
                str(studios.run.path),
                str(studios.up.directory),
                *more_foreign_paths,
            ],
            "foreign_devices": list(foreign_devices),
            "foreign_tenant": NEIGHBOUR,
            "foreign_image": picture.name.rpartition("/")[2],
            "tenant_directory": tenant_directory,
            "code": code,
            "model": model,
            "processes": PROCESSES,
            "memory_bytes": MEMORY_BYTES,
        }
    )


def outcomes(output: str) -> dict[str, str]:
    """Read what became of each attack."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {line["attack"]: line["outcome"] for line in lines}


def successes(found: Mapping[str, str]) -> dict[str, str]:
    return {name: outcome for name, outcome in found.items() if "SUCCEEDED" in outcome}


def assert_is_a_picture(studios: TwoStudios, tenant: str, image: Image) -> None:
    """It is what was ordered, drawn by the checkpoint that ships: neither blank nor noise."""
    assert image.state == ImageState.IMAGE_STATE_SUCCEEDED, image
    pixels = np.asarray(Pictures.open(io.BytesIO(studios.download(tenant, image))).convert("RGB"))
    assert pixels.shape == (128, 128, 3)
    # Pictures of things differ from place to place, but little from one pixel to the next.
    assert pixels.std() > 15
    assert np.abs(np.diff(pixels.astype(float), axis=1)).mean() < 20
