"""Figures of a metered run: the counter's habits, watts, sums, and how energy goes with work."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot
from time import monotonic_ns
from typing import Any, Final

from benchmarks.parts.local_meter import LocalMeter
from metering.energy_counter import EnergyCounter
from metering.power import SegmentKind
from metering.refresh_tracker import measure_period_nanos
from services.engine.image_spec import AttemptKey, ImageSpec

# Through two points a line always goes.
_IMAGES_MIN: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnImage:
    """One image with what it took."""

    key: AttemptKey
    spec: ImageSpec
    is_alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """When the parts of the run began and ended, CLOCK_MONOTONIC seconds."""

    free: tuple[float, float]
    idle: tuple[float, float]


def refresh_of(counter: EnergyCounter) -> dict[str, float]:
    """Look at the counter as fast as it answers, for three seconds."""
    looks: list[tuple[int, int, int]] = []
    end_nanos = monotonic_ns() + 3_000_000_000
    while (before_nanos := monotonic_ns()) < end_nanos:
        millijoules = counter.read(before_nanos)
        looks.append((before_nanos, monotonic_ns(), millijoules))
    moves = [(now[0] + now[1]) / 2e6 for last, now in pairwise(looks) if now[2] != last[2]]
    gaps = [later - earlier for earlier, later in pairwise(moves)]
    calls = [(after - before) / 1e6 for before, after, _ in looks]
    as_started = measure_period_nanos(
        lambda: counter.read(monotonic_ns()), now=monotonic_ns, unknown_nanos=100_000_000
    )
    return {
        "period_ms": round((moves[-1] - moves[0]) / len(gaps), 3),
        "shortest_ms": round(min(gaps), 2),
        "longest_ms": round(max(gaps), 2),
        "as_the_meter_measures_it_at_its_start_ms": round(as_started / 1e6, 2),
        "call_ms": round(statistics.mean(calls), 3),
        "call_ms_p95": round(statistics.quantiles(calls, n=20)[-1], 3),
        "looks": len(looks),
    }


def watts_of(meter: LocalMeter, moments: Moments) -> dict[str, float]:
    """Mean power by the readings alone: with no process, with a waiting one, while loading."""
    loads = [segment for segment in meter.books.segments if segment.kind is SegmentKind.LOAD]
    seconds = sum((one.end_time - one.start_time).total_seconds() for one in loads)
    work = [segment for segment in meter.books.segments if segment.kind is SegmentKind.WORK]
    work_seconds = sum((one.end_time - one.start_time).total_seconds() for one in work)
    return {
        "free": _mean_watts(meter, moments.free),
        "idle": _mean_watts(meter, moments.idle),
        "load": sum(one.millijoules for one in loads) / 1000 / seconds,
        "work": sum(one.millijoules for one in work) / 1000 / work_seconds,
    }


def _mean_watts(meter: LocalMeter, span: tuple[float, float]) -> float:
    inside = [
        reading for reading in meter.readings if span[0] * 1e9 <= reading.nanos <= span[1] * 1e9
    ]
    first, last = inside[0], inside[-1]
    return (last.millijoules - first.millijoules) / (last.nanos - first.nanos) * 1e6


def partition_of(meter: LocalMeter, first: int, last: int) -> dict[str, float]:
    """Does all that was booked add up to what the counter counted?"""
    books = meter.books
    counted = sum(
        batch.end_reading.millijoules - batch.start_reading.millijoules for batch in books.batches
    )
    booked = sum(segment.millijoules for segment in books.segments)
    return {
        "segments": len(books.segments),
        "counter_millijoules": counted,
        "partition_millijoules": booked,
        "residual_millijoules": counted - booked,
        "counter_read_directly_before_and_after_millijoules": last - first,
        "outside_the_first_and_last_reading_millijoules": last - first - counted,
    }


def work_of(
    meter: LocalMeter, images: Sequence[DrawnImage], *, idle_watts: float
) -> dict[str, Any]:
    """How energy goes with steps × tokens, and with the engine's own units of work."""
    told = energy_of_images(meter)
    joules = {name: energy for name, (energy, _) in told.items()}
    units = _units_of(meter)
    ids = [image.key.image_id for image in images]
    half_widths = [1.96 * told[name][1] / told[name][0] for name in ids]
    step_tokens = {image.key.image_id: _step_tokens(image.spec) for image in images}
    return {
        "images": len(images),
        "image_joules_least": round(min(joules[name] for name in ids), 1),
        "image_joules_most": round(max(joules[name] for name in ids), 1),
        "interval_half_width_median_percent": round(100 * statistics.median(half_widths), 2),
        "r_squared_steps_times_tokens": _r_squared(images, step_tokens, joules),
        "r_squared_work_units": _r_squared(images, units, joules),
        "joules_per_work_unit": _joules_of_work(meter, idle_watts) / sum(units.values()),
    }


def mixed_against_alone(meter: LocalMeter, images: Sequence[DrawnImage]) -> dict[str, Any]:
    """What images get of a mixed batch, against images of the same size and steps alone.

    A batch may take less in all, which is no error of the split; so the ratio of all images
    together stands by itself, and the error is what is left of each image's ratio without it.
    """
    told = energy_of_images(meter)
    alone: dict[tuple[int, int], list[float]] = {}
    for image in images:
        if image.is_alone:
            alone.setdefault(_kind_of(image), []).append(told[image.key.image_id][0])
    expected = {kind: statistics.mean(joules) for kind, joules in alone.items()}
    mixed = [one for one in images if not one.is_alone and _kind_of(one) in expected]
    if len(mixed) <= _IMAGES_MIN:
        return {"images": len(mixed)}
    got = [told[one.key.image_id][0] for one in mixed]
    wanted = [expected[_kind_of(one)] for one in mixed]
    saved = sum(got) / sum(wanted)
    errors = [abs(joules / want / saved - 1) for joules, want in zip(got, wanted, strict=True)]
    return {
        "images": len(mixed),
        "batch_over_alone": round(saved, 4),
        "error_median_percent": round(100 * statistics.median(errors), 2),
        "error_mean_percent": round(100 * statistics.mean(errors), 2),
        "error_p95_percent": round(100 * statistics.quantiles(errors, n=20)[-1], 2),
        "ratio_by_size_and_steps": _ratios_by_kind(mixed, got, wanted),
        "spread_alone_percent": round(100 * _spread(alone), 2),
    }


def _ratios_by_kind(
    mixed: Sequence[DrawnImage], got: Sequence[float], wanted: Sequence[float]
) -> dict[str, float]:
    ratios: dict[tuple[int, int], list[float]] = {}
    for image, joules, want in zip(mixed, got, wanted, strict=True):
        ratios.setdefault(_kind_of(image), []).append(joules / want)
    return {
        f"{size}² × {steps}": round(statistics.mean(values), 4)
        for (size, steps), values in sorted(ratios.items())
    }


def _spread(alone: Mapping[tuple[int, int], Sequence[float]]) -> float:
    """Mean deviation of images alone from the mean of their kind: what no split can beat."""
    return statistics.mean(
        abs(one / statistics.mean(joules) - 1) for joules in alone.values() for one in joules
    )


def _kind_of(image: DrawnImage) -> tuple[int, int]:
    return image.spec.width, image.spec.num_inference_steps


def energy_of_images(meter: LocalMeter) -> dict[str, tuple[float, float]]:
    """Joules and one standard deviation of each image, added up as the database does."""
    found: dict[str, tuple[float, float]] = {}
    for segment in meter.books.segments:
        for share in segment.shares:
            joules, error = found.get(share.image_id, (0.0, 0.0))
            found[share.image_id] = (
                joules + share.millijoules / 1000,
                hypot(error, share.error_millijoules / 1000),
            )
    return found


def _joules_of_work(meter: LocalMeter, idle_watts: float) -> float:
    """What work took on top of waiting."""
    seconds = sum((mark.end_nanos - mark.start_nanos) / 1e9 for mark in meter.marks if mark.work)
    work = [segment for segment in meter.books.segments if segment.kind is SegmentKind.WORK]
    return sum(segment.millijoules for segment in work) / 1000 - idle_watts * seconds


def _units_of(meter: LocalMeter) -> Mapping[str, float]:
    units: dict[str, float] = {}
    for mark in meter.marks:
        for key, amount in mark.work:
            units[key.image_id] = units.get(key.image_id, 0.0) + amount
    return units


def _step_tokens(spec: ImageSpec) -> float:
    """Steps × latent tokens, twice with guidance."""
    tokens = (spec.width // 16) * (spec.height // 16)
    return spec.num_inference_steps * tokens * (2 if spec.is_guided else 1)


def _r_squared(
    images: Sequence[DrawnImage], x: Mapping[str, float], y: Mapping[str, float]
) -> dict[str, float]:
    """By group; without one that has too few images to tell."""
    groups = {
        "all": images,
        "alone": [image for image in images if image.is_alone],
        "in_batches": [image for image in images if not image.is_alone],
    }
    ids = {name: [image.key.image_id for image in group] for name, group in groups.items()}
    return {
        name: round(
            statistics.correlation([x[one] for one in group], [y[one] for one in group]) ** 2, 4
        )
        for name, group in ids.items()
        if len(group) > _IMAGES_MIN
    }
