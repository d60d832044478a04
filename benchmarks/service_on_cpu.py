"""How long does one image take through the whole service, and what do the other processes cost?

    python benchmarks/service_on_cpu.py [--images 8] [--threads 2]

Starts an installation of its own with one worker and the checkpoint that ships, lets it load
its model, then orders images of 256×256 with 20 steps: one at a time first, then all in one job.
CPU seconds are read from the operating system for every process of the installation, ended ones
included, between the order and the last picture: the worker's against all others' together.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import psutil
from machine import describe_machine, write_result

import atelier
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.image_pb2 import ImageSpec, Tier
from atelier.v1.job_service_pb2 import JobSpec
from atelier.v1.money_pb2 import Money
from atelier.v1.price_pb2 import PriceComponent, PriceComponentKind, PriceTier, PriceVersion
from atelier.v1.tenant_service_pb2 import Tenant
from services.standalone.installation import RunningInstallation, running_installation
from services.standalone.settings import Settings
from services.standalone.terminal import Terminal

RESULTS: Final = Path(__file__).resolve().parent / "results"
TENANT: Final = "bench"
SIZE: Final = 256
STEPS: Final = 20
SECONDS_TARGET: Final = 5.0
OTHERS_TARGET: Final = 0.10
WORKER: Final = "services.worker"

FoundT = TypeVar("FoundT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One stretch of work: seconds by the clock, CPU seconds by process."""

    images: int
    seconds: float
    cpu_seconds: Mapping[str, float]

    @property
    def others_share(self) -> float:
        """CPU seconds of all other processes over the worker's."""
        others = sum(s for name, s in self.cpu_seconds.items() if name != WORKER)
        return others / self.cpu_seconds[WORKER]


def main() -> None:
    """Measure and write the result down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS / "service_on_cpu.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atelier-bench-", ignore_cleanup_errors=True) as folder:
        settings = Settings(
            data_directory=Path(folder),
            port=0,
            cpu_device_count=1,
            threads_per_worker=arguments.threads,
        )
        # PostgreSQL may run as another user.
        Path(folder).chmod(0o755)
        with running_installation(settings, Terminal(quiet=True)) as running:
            loads = beside(running, lambda: measure(running, images=arguments.images))
    report(loads[:-1], loads[-1], threads=arguments.threads, path=arguments.output)


def beside(running: RunningInstallation, measurement: Callable[[], list[FoundT]]) -> list[FoundT]:
    """Measure in a thread, because the main one looks after the processes."""
    found: list[FoundT] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            found.extend(measurement())
        except BaseException as failure:  # noqa: BLE001 - raised again in the main thread
            failures.append(failure)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        running.look_after()
    for failure in failures:
        raise failure
    return found


def measure(running: RunningInstallation, *, images: int) -> list[Load]:
    """Single images first, then a job of all; the last one is the job."""
    installation = running.installation
    key = open_account(
        installation.gateway_address, installation.data.operator_key.read_text().strip()
    )
    with atelier.Client(installation.gateway_address, api_key=key) as client:
        # The worker loads its model first; that is not an image's time.
        draw(client, images=1, tier=Tier.TIER_BATCH)
        singles = [draw(client, images=1, tier=Tier.TIER_INTERACTIVE) for _ in range(images // 2)]
        return [*singles, draw(client, images=images, tier=Tier.TIER_BATCH)]


def draw(client: atelier.Client, *, images: int, tier: "Tier.ValueType") -> Load:
    """One job from its order to its last picture."""
    spec = ImageSpec(
        prompt="a photo of a red mug on a white background",
        width=SIZE,
        height=SIZE,
        num_inference_steps=STEPS,
    )
    cpu_before, began = cpu_seconds(), time.monotonic()
    client.wait_for_job(client.order_job([JobSpec(image=spec, count=images)], tier=tier).name)
    seconds = time.monotonic() - began
    spent = {name: s - cpu_before.get(name, 0.0) for name, s in cpu_seconds().items()}
    return Load(images=images, seconds=seconds, cpu_seconds=spent)


def cpu_seconds() -> dict[str, float]:
    """User and system time of every process of ours, with those of its children that ended."""
    found: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            name, times = name_of(process), process.cpu_times()
        except psutil.Error:
            continue
        spent = times.user + times.system + times.children_user + times.children_system
        found[name] = found.get(name, 0.0) + spent
    return found


def name_of(process: psutil.Process) -> str:
    """The module a Python process runs, or the program's name."""
    command = process.cmdline()
    modules = [word for word in command if word.startswith("services.")]
    return modules[0] if modules else process.name()


def open_account(address: str, operator_key: str) -> str:
    """A tenant with credit, and a key of its own."""
    with atelier.Client(address, api_key=operator_key, tenant=TENANT) as operator:
        operator.create_price_version(
            PriceVersion(
                currency_code="EUR",
                components=[
                    PriceComponent(
                        kind=PriceComponentKind.PRICE_COMPONENT_KIND_PER_IMAGE,
                        tiers=[PriceTier(unit_price_nanos=1_000_000)],
                    )
                ],
            )
        )
        operator.create_tenant(TENANT, Tenant(display_name="Bench", currency_code="EUR"))
        operator.grant_credit(Money(currency_code="EUR", nanos=10**12), description="Bench")
        return operator.create_api_key(ApiKey(role=KeyRole.KEY_ROLE_MEMBER)).secret


def report(singles: list[Load], job: Load, *, threads: int, path: Path) -> None:
    """On the screen and in a file."""
    single_seconds = statistics.median(load.seconds for load in singles)
    per_image_seconds = job.seconds / job.images
    met = "met" if max(single_seconds, per_image_seconds) <= SECONDS_TARGET else "missed"
    print(
        f"one image {single_seconds:.1f} s, in a job of {job.images} {per_image_seconds:.1f} s each"
        f" (target {SECONDS_TARGET} s: {met})"
    )
    met = "met" if job.others_share <= OTHERS_TARGET else "missed"
    print(
        f"all other processes {job.others_share:.1%} of the worker's CPU seconds"
        f" (target {OTHERS_TARGET:.0%}: {met})"
    )
    result = {
        "question": "How long does one image take through the whole service, at what cost beside?",
        "command": "python benchmarks/service_on_cpu.py",
        "machine": describe_machine(),
        "threads": threads,
        "size": SIZE,
        "num_inference_steps": STEPS,
        "single_image_seconds": [round(load.seconds, 2) for load in singles],
        "job_images": job.images,
        "job_seconds_per_image": round(per_image_seconds, 2),
        "seconds_target": SECONDS_TARGET,
        "others_share_of_worker_cpu": round(job.others_share, 4),
        "others_target": OTHERS_TARGET,
        "job_cpu_seconds": {name: round(s, 2) for name, s in sorted(job.cpu_seconds.items())},
    }
    write_result(result, path)


if __name__ == "__main__":
    main()
