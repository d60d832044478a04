"""Are GPUs shared fairly among many tenants when one of them is greedy?

    python benchmarks/fairness.py [--hours 8] [--seed 1] [--tenants 1000] [--gpus 64]

Runs the fleet's own decisions (`services.fleet.allocation`) under a seeded virtual clock: 70 % of
the tenants always have work, one of them a hundred thousand times as much as the others; most of
the rest come with a job now and then; ten create and cancel jobs, again and again. Told: Jain's
index of the GPU time of the equally weighted tenants that always have work, the longest that any of
them waited with work and no device, how often devices change hands against the bound that the dwell
gives, and what loading models takes. Writes benchmarks/results/fairness.json and
docs/images/fairness.png.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Final

import matplotlib as mpl

from services.fleet.allocation import AllocationRules
from services.fleet.simulation import SimulatedFleet, SimulatedTenant, jain

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results" / "fairness.json"
PLOT: Final = ROOT / "docs" / "images" / "fairness.png"
TARGET_JAIN: Final = 0.95
CANCELLERS: Final = 10
BACKLOGGED_SHARE: Final = 0.7
TICK_SECONDS: Final = 5.0
SAMPLE_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """The tenants by what they do."""

    greedy: SimulatedTenant
    equals: Sequence[SimulatedTenant]
    visitors: Sequence[SimulatedTenant]
    cancellers: Sequence[SimulatedTenant]

    @property
    def always_with_work(self) -> list[SimulatedTenant]:
        return [self.greedy, *self.equals]

    @property
    def everybody(self) -> list[SimulatedTenant]:
        return [self.greedy, *self.equals, *self.visitors, *self.cancellers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came out."""

    command: str
    machine: str
    tenants: int
    gpus: int
    hours: float
    seed: int
    jain: float
    greedy_over_mean: float
    longest_wait_seconds: float
    wait_bound_seconds: float
    visitors_drawn_share: float
    takeovers_per_gpu_hour: float
    takeovers_per_gpu_hour_bound: float
    loading_share: float
    dwell_seconds: float
    cancellers_drawn_seconds: float
    seconds_of_running: float


def main() -> None:
    """Run it, tell it, keep it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--gpus", type=int, default=64)
    arguments = parser.parse_args()
    began = time.monotonic()
    crowd = make_crowd(arguments.tenants)
    fleet = SimulatedFleet(
        tenants=crowd.everybody,
        device_count=arguments.gpus,
        seed=arguments.seed,
        rules=AllocationRules(devices_per_tenant_max=arguments.gpus),
        tick_seconds=TICK_SECONDS,
    )
    over_time: list[tuple[float, float]] = []
    while fleet.now < arguments.hours * 3600:
        fleet.run(SAMPLE_SECONDS)
        over_time.append((fleet.now / 3600, jain_of(crowd)))
    answer = answer_of(
        fleet,
        crowd,
        seed=arguments.seed,
        command=(
            f"python benchmarks/fairness.py --hours {arguments.hours:g} --seed {arguments.seed} "
            f"--tenants {arguments.tenants} --gpus {arguments.gpus}"
        ),
        seconds_of_running=time.monotonic() - began,
    )
    RESULTS.write_text(json.dumps(asdict(answer), indent=2) + "\n")
    draw(crowd, over_time, answer)
    print(json.dumps(asdict(answer), indent=2))
    verdict = "met" if answer.jain >= TARGET_JAIN else "MISSED"
    print(f"target: Jain ≥ {TARGET_JAIN}: {verdict} ({answer.jain:.4f})")


def make_crowd(tenant_count: int) -> Crowd:
    """Divide the tenants by what they do."""
    equals = int(tenant_count * BACKLOGGED_SHARE) - 1
    visitors = tenant_count - equals - 1 - CANCELLERS
    return Crowd(
        greedy=SimulatedTenant(tenant_id="greedy", standing_backlog_seconds=2e7),
        equals=[
            SimulatedTenant(tenant_id=f"equal-{number}", standing_backlog_seconds=200.0)
            for number in range(equals)
        ],
        visitors=[
            SimulatedTenant(
                tenant_id=f"visitor-{number}", job_interval_seconds=7200.0, job_seconds=60.0
            )
            for number in range(visitors)
        ],
        cancellers=[
            SimulatedTenant(
                tenant_id=f"canceller-{number}",
                job_interval_seconds=60.0,
                job_seconds=500.0,
                cancels_after_seconds=3600.0,
            )
            for number in range(CANCELLERS)
        ],
    )


def jain_of(crowd: Crowd) -> float:
    """Return how even the GPU time of those is that always have work."""
    return jain([tenant.drawn_seconds for tenant in crowd.always_with_work])


def answer_of(
    fleet: SimulatedFleet, crowd: Crowd, *, seed: int, command: str, seconds_of_running: float
) -> Answer:
    """Put the figures together."""
    drawn = [tenant.drawn_seconds for tenant in crowd.always_with_work]
    gpu_hours = fleet.device_count * fleet.now / 3600
    ordered = sum(tenant.drawn_seconds + tenant.waiting_seconds for tenant in crowd.visitors)
    # At most everybody is served in between, each for twice a dwell, a drain and a cold start.
    turns = ceil(len(crowd.everybody) / fleet.device_count)
    return Answer(
        command=command,
        machine=f"{platform.machine()}, {os.cpu_count()} cores; the clock is virtual",
        tenants=len(crowd.everybody),
        gpus=fleet.device_count,
        hours=fleet.now / 3600,
        seed=seed,
        jain=round(jain(drawn), 4),
        greedy_over_mean=round(crowd.greedy.drawn_seconds / (sum(drawn) / len(drawn)), 3),
        longest_wait_seconds=max(t.longest_wait_seconds for t in crowd.always_with_work),
        wait_bound_seconds=round(turns * (2 * fleet.dwell_seconds + 40.0)),
        visitors_drawn_share=round(
            sum(tenant.drawn_seconds for tenant in crowd.visitors) / ordered, 3
        ),
        takeovers_per_gpu_hour=round(fleet.takeover_count / gpu_hours, 2),
        takeovers_per_gpu_hour_bound=round(3600 / fleet.dwell_seconds, 2),
        loading_share=round(fleet.loading_seconds / fleet.now / fleet.device_count, 4),
        dwell_seconds=round(fleet.dwell_seconds, 1),
        cancellers_drawn_seconds=sum(tenant.drawn_seconds for tenant in crowd.cancellers),
        seconds_of_running=round(seconds_of_running, 1),
    )


def draw(crowd: Crowd, over_time: Sequence[tuple[float, float]], answer: Answer) -> None:
    """Plot how even it is, and how soon."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), constrained_layout=True)
    minutes = sorted(tenant.drawn_seconds / 60 for tenant in crowd.equals)
    left.hist(minutes, bins=30, color="#7a8fb8")
    left.axvline(
        crowd.greedy.drawn_seconds / 60, color="#c0392b", label="the greedy tenant", linewidth=2
    )
    left.set_xlim(left=0)
    left.set_xlabel(f"GPU minutes of a tenant in {answer.hours:g} hours")
    left.set_ylabel("tenants that always have work")
    left.legend()
    right.plot([hour for hour, _ in over_time], [index for _, index in over_time], color="#2c3e50")
    right.axhline(TARGET_JAIN, color="#c0392b", linestyle="--", label=f"target {TARGET_JAIN}")
    right.set_ylim(0, 1.02)
    right.set_xlabel("hours since the beginning")
    right.set_ylabel("Jain's index of their GPU time")
    right.legend(loc="lower right")
    figure.suptitle(f"{answer.tenants} tenants on {answer.gpus} GPUs, one of them greedy")  # pyright: ignore[reportUnknownMemberType] - as matplotlib types it
    figure.savefig(PLOT, dpi=110)  # pyright: ignore[reportUnknownMemberType]


if __name__ == "__main__":
    main()
