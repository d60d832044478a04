"""The parts of `service_on_gpu.py` that need a running service; each returns what it found."""

import time
from pathlib import Path
from typing import Any, Final

from benchmarks.service.bench import Bench
from benchmarks.service.figures import (
    overlapping,
    receipts_of,
    seconds_between,
    summary,
)
from benchmarks.service.plan import Plan
from benchmarks.service.watching import SensorWatch, step_rates

# The fleet's default, and no pace at all while the card stays cool.
USUAL_PACE: Final = 0.9
UNPACED: Final = 1.0
# A cooled H200 stands at 62 °C under full load and one step alone heats its chip to 56: here the
# band begins at 55. A limit below what one step reaches cannot be kept by resting.
HEAT_LIMIT_CELSIUS: Final = 65.0


def handover(bench: Bench, plan: Plan) -> dict[str, Any]:
    """Both studios at once; the card is one."""
    jobs = {tenant: bench.order(tenant, plan.large, plan.large_images) for tenant in bench.keys}
    found: dict[str, Any] = {}
    for tenant, job in jobs.items():
        images = bench.finish(tenant, job)
        seconds = seconds_between(images)
        found[tenant] = {
            **receipts_of(images),
            "seconds": round(seconds, 2),
            "seconds_per_image": round(seconds / len(images), 3),
        }
    return {**found, "handovers": bench.handovers()}


def cards(bench: Bench, plan: Plan) -> dict[str, Any]:
    """Several cards: on which was each studio's image drawn, and was a card ever two studios'?"""
    jobs = {tenant: bench.order(tenant, plan.large, plan.steady_images) for tenant in bench.keys}
    stays: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for tenant, job in jobs.items():
        images = bench.finish(tenant, job)
        found[tenant] = {**receipts_of(images), "seconds": round(seconds_between(images), 2)}
        stays += bench.stays(tenant, images)
    return {
        **found,
        "stays": stays,
        "cards_shared_at_once": overlapping(stays),
        "handovers": bench.handovers(),
    }


def steady(bench: Bench, plan: Plan) -> dict[str, Any]:
    """From the first image's start to the last one's end, pictures encoded, stored and charged.

    Unpaced: the operator allows the whole time, where 0.9 of it is the default.
    """
    bench.allow(UNPACED)
    images = bench.finish("acme", bench.order("acme", plan.large, plan.steady_images))
    bench.allow(USUAL_PACE)
    seconds = seconds_between(images)
    return {
        "duty_cycle_max": UNPACED,
        **receipts_of(images),
        "seconds_per_image": round(seconds / len(images), 3),
        "timeline": bench.timeline(images),
    }


def many(bench: Bench, plan: Plan, folder: Path) -> dict[str, Any]:
    """Many small pictures through the command line, files on disk included."""
    seconds = bench.order_by_command("acme", plan.small, plan.small_images, folder)
    with bench.studio("acme") as studio:
        images = list(studio.list_images(next(iter(studio.list_jobs())).name))
    files = len(list((folder / "pictures").glob("*.png")))
    return {**receipts_of(images), "files": files, "seconds": round(seconds, 1)}


def pace(bench: Bench, plan: Plan) -> dict[str, Any]:
    """Constant load under a policy: does the duty cycle hold, are steps regular?"""
    bench.allow(USUAL_PACE)
    return {"duty_cycle_max": USUAL_PACE, **_watched_load(bench, plan)}


def heat(bench: Bench, plan: Plan) -> dict[str, Any]:
    """Constant load in whose band a card at full speed would stand: where does it settle?"""
    bench.keep_below(HEAT_LIMIT_CELSIUS)
    found = _watched_load(bench, plan)
    bench.allow(USUAL_PACE)
    return {"temperature_celsius_max": HEAT_LIMIT_CELSIUS, "duty_cycle_max": UNPACED, **found}


def _watched_load(bench: Bench, plan: Plan) -> dict[str, Any]:
    job = bench.order("acme", plan.large, 1000)
    with bench.studio("acme") as studio:
        news = studio.watch_job(job.name)
        next(one for one in news if one.HasField("progress") and one.progress.step > 0)
    with SensorWatch(bench) as sensors:
        start_time = time.time()
        rates = step_rates(
            bench,
            "acme",
            job,
            seconds=plan.pace_seconds,
            window_seconds=plan.pace_window_seconds,
        )
        end_time = time.time()
    with bench.studio("acme") as studio:
        studio.cancel_job(job.name)
        studio.wait_for_job(job.name)
    return {
        # The meter books a stretch when the counter has moved past it.
        "duty_cycle_measured": round(bench.worked_share(start_time, end_time), 4),
        "seconds": round(end_time - start_time, 1),
        "steps": summary(rates),
        "steps_per_second_by_window": rates,
        "sensors": sensors.rows,
    }


def kill(bench: Bench, plan: Plan) -> dict[str, Any]:
    """The worker dies in the middle of an image: drawn again, charged once, its joules shown."""
    before = bench.reconciliation()
    job = bench.order("zeta", plan.long, plan.killed_images)
    with bench.studio("zeta") as studio:
        news = studio.watch_job(job.name)
        next(one for one in news if one.HasField("progress") and one.progress.step > 0)
    used_before = bench.gpu().sample.memory_used_bytes
    process_id = bench.kill_worker()
    lowest = used_before
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        lowest = min(lowest, bench.gpu().sample.memory_used_bytes)
        # Its sensors are read once a second.
        time.sleep(0.2)
    images = bench.finish("zeta", job)
    overhead = [
        sum(hour["overhead_millijoules"] for hour in hours)
        for hours in (before, bench.reconciliation())
    ]
    return {
        "killed_process": process_id,
        "memory_used_gib": [round(used / 2**30, 2) for used in (used_before, lowest)],
        **receipts_of(images),
        "overhead_joules_added": round((overhead[1] - overhead[0]) / 1000, 1),
    }


def bill(bench: Bench) -> dict[str, Any]:
    """Do the invoices and the joules add up?"""
    # Hours are stored every ten seconds.
    time.sleep(12)
    return {
        "invoices": {tenant: bench.bill(tenant) for tenant in bench.keys},
        "reconciliation": bench.reconciliation(),
    }
