"""How far off is a job's estimated finish time?

    python benchmarks/finish_time.py [--jobs 24] [--seed 1]

Starts an installation of its own, draws a few images so that there is something to estimate from,
then orders a mixed load: jobs of one to a dozen images of several sizes and step counts, batch and
interactive, at random times, so that about as much arrives as one worker can draw. Each job's first
estimate (kept by the gateway, made when the job was accepted, blind to what comes later) is held
against its end. The error is relative: (estimated − actual) ÷ (actual − time of the estimate).
"""

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil
import psycopg
from psycopg.rows import class_row

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
TARGET_MEDIAN_ERROR: Final = 0.20
# Each is a side in pixels and a number of steps.
KINDS: Final = ((128, 8), (128, 20), (192, 12), (256, 10), (256, 20))
IMAGES_PER_JOB_MAX: Final = 12
INTERACTIVE_SHARE: Final = 0.2
# As much as arrives, of what can be drawn.
UTILIZATION: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job of the load."""

    tier: "Tier.ValueType"
    # Kinds with how many images of each.
    specs: tuple[tuple[tuple[int, int], int], ...]

    @property
    def pixel_steps(self) -> int:
        return sum(side * side * steps * count for (side, steps), count in self.specs)

    def messages(self) -> list[JobSpec]:
        return [
            JobSpec(
                image=ImageSpec(
                    prompt="a red mug on a wooden table",
                    width=side,
                    height=side,
                    num_inference_steps=steps,
                ),
                count=count,
            )
            for (side, steps), count in self.specs
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A job's first estimate and the truth."""

    tier: str
    image_count: int
    seconds: float
    estimated_seconds: float

    @property
    def error(self) -> float:
        return (self.estimated_seconds - self.seconds) / self.seconds


def main() -> None:
    """Measure and write the result down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS / "finish_time.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atelier-bench-", ignore_cleanup_errors=True) as folder:
        settings = Settings(data_directory=Path(folder), port=0, cpu_device_count=1)
        # PostgreSQL may run as another user.
        Path(folder).chmod(0o755)
        with running_installation(settings, Terminal(quiet=True)) as running:
            outcomes = _beside(running, jobs=arguments.jobs, seed=arguments.seed)
    _report(outcomes, arguments.output)


def _beside(running: RunningInstallation, *, jobs: int, seed: int) -> list[Outcome]:
    """Run the load in a thread, because the main one looks after the processes."""
    found: list[Outcome] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            found.extend(_measure(running, jobs=jobs, seed=seed))
        except BaseException as failure:  # noqa: BLE001 - raised again in the main thread
            failures.append(failure)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        running.look_after()
    for failure in failures:
        raise failure
    return found


def _measure(running: RunningInstallation, *, jobs: int, seed: int) -> list[Outcome]:
    installation = running.installation
    chance = random.Random(seed)  # noqa: S311 - the load need not be secret
    key = _open_account(
        installation.gateway_address, installation.data.operator_key.read_text().strip()
    )
    with atelier.Client(installation.gateway_address, api_key=key) as client:
        pixel_steps_per_second = _warm_up(client)
        print(f"it draws {pixel_steps_per_second / 1e6:.2f} megapixel-steps a second")
        orders = [_random_order(chance) for _ in range(jobs)]
        names: list[str] = []
        for order in orders:
            names.append(client.order_job(order.messages(), tier=order.tier).name)
            mean_seconds = order.pixel_steps / pixel_steps_per_second / UTILIZATION
            time.sleep(chance.uniform(0.0, 2.0) * mean_seconds)
        for name in names:
            client.wait_for_job(name)
    return _outcomes(installation.database_urls["atelier_operator"], names)


def _warm_up(client: atelier.Client) -> float:
    """Draw each kind twice, together; returns pixel-steps per second."""
    order = Order(tier=Tier.TIER_BATCH, specs=tuple((kind, 2) for kind in KINDS))
    # The worker loads its model first; that is not the warm-up's time.
    client.wait_for_job(client.order_job(order.messages()[:1]).name)
    began_seconds = time.monotonic()
    client.wait_for_job(client.order_job(order.messages()).name)
    return order.pixel_steps / (time.monotonic() - began_seconds)


def _random_order(chance: random.Random) -> Order:
    if chance.random() < INTERACTIVE_SHARE:
        return Order(tier=Tier.TIER_INTERACTIVE, specs=((chance.choice(KINDS), 1),))
    kinds = chance.sample(KINDS, chance.randint(1, 2))
    counts = [chance.randint(1, IMAGES_PER_JOB_MAX // len(kinds)) for _ in kinds]
    return Order(tier=Tier.TIER_BATCH, specs=tuple(zip(kinds, counts, strict=True)))


def _open_account(address: str, operator_key: str) -> str:
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


def _outcomes(database_url: str, names: Sequence[str]) -> list[Outcome]:
    with psycopg.connect(database_url) as connection:
        cursor = connection.cursor(row_factory=class_row(Outcome))
        cursor.execute(
            b"SELECT tier, image_count,"
            b" extract(epoch FROM end_time - estimate_time)::float8 AS seconds,"
            b" extract(epoch FROM estimated_finish_time - estimate_time)::float8"
            b"     AS estimated_seconds"
            b" FROM finish_estimates JOIN jobs USING (job_id)"
            b" WHERE job_id = ANY(%s) ORDER BY jobs.create_time",
            [[name.rpartition("/")[2] for name in names]],
        )
        return cursor.fetchall()


def _report(outcomes: Sequence[Outcome], path: Path) -> None:
    errors = [outcome.error for outcome in outcomes]
    sizes = sorted(abs(error) for error in errors)
    median = statistics.median(sizes)
    for outcome in outcomes:
        print(
            f"{outcome.tier:<12}{outcome.image_count:>3} images  took {outcome.seconds:>6.1f} s,"
            f" estimated {outcome.estimated_seconds:>6.1f} s  ({outcome.error:+.0%})"
        )
    met = "met" if median <= TARGET_MEDIAN_ERROR else "missed"
    target = f"target {TARGET_MEDIAN_ERROR:.0%}: {met}"
    print(f"median error {median:.1%} of {len(outcomes)} jobs ({target})")
    result = {
        "question": "How far off is a job's first estimated finish time?",
        "measure_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor_name(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "system": platform.platform(),
            "load_average_after": [round(load, 1) for load in os.getloadavg()],
        },
        "job_count": len(outcomes),
        "median_error": round(median, 4),
        "mean_error": round(statistics.fmean(sizes), 4),
        "p90_error": round(sizes[int(0.9 * (len(sizes) - 1))], 4),
        "median_signed_error": round(statistics.median(errors), 4),
        "target_median_error": TARGET_MEDIAN_ERROR,
        "jobs": [asdict(outcome) for outcome in outcomes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {path}")


def _processor_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
