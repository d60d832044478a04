"""How far the meter is off on a simulated day, beside simpler ways to measure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, median, quantiles

from tests.gpu_simulation.card import MS, SimulatedCard
from tests.gpu_simulation.fake_pynvml import CounterHabits, FakePynvml, SimulatedClock
from tests.gpu_simulation.metered_card import Books, metered
from tests.gpu_simulation.work import Day

# The day begins and ends with a card at rest.
_REST_BEFORE_MS = 500
_REST_AFTER_MS = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredDay:
    """A day, what the meter made of it, and the driver it looked at."""

    day: Day
    books: Books
    driver: FakePynvml
    looks_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Relative errors of images; 0.01 is one percent."""

    images: int
    error_mean: float
    error_p95: float
    bias: float
    # Of the 95 % intervals.
    covered: float
    half_width_median: float
    # Millijoules that the counter shows and nobody was booked for, of all days together.
    residual_millijoules: int
    looks_per_second: float


def metered_day(
    seed: int, *, in_batches: bool, seconds: float, habits: CounterHabits
) -> MeteredDay:
    """Let a worker draw, then let the meter watch."""
    source = random.Random(seed)
    card = SimulatedCard(source)
    card.rest(_REST_BEFORE_MS)
    day = Day(card)
    day.load()
    if in_batches:
        day.in_batches(source, seconds=seconds)
    else:
        day.one_after_the_other(source, seconds=seconds)
    card.rest(_REST_AFTER_MS)
    clock = SimulatedClock()
    driver = FakePynvml(card, habits, now=clock.now, spend=clock.pass_by)
    watched_seconds = (card.now_nanos - 200 * MS) / 1e9
    books = metered(driver, day.marks, clock=clock, seconds=watched_seconds)
    return MeteredDay(
        day=day,
        books=books,
        driver=driver,
        looks_per_second=driver.call_count / (clock.nanos / 1e9),
    )


def figures_of(days: Sequence[MeteredDay]) -> Figures:
    """Hold what was told of each image against its truth."""
    errors: list[float] = []
    half_widths: list[float] = []
    for metered_one in days:
        told = metered_one.books.of_images()
        for image_id, took in metered_one.day.truth.items():
            millijoules, error = told[image_id]
            errors.append((millijoules - took) / took)
            half_widths.append(1.96 * error / took)
    distances = [abs(error) for error in errors]
    return Figures(
        images=len(errors),
        error_mean=mean(distances),
        error_p95=quantiles(distances, n=20)[-1],
        bias=mean(errors),
        covered=mean(
            distance <= width for distance, width in zip(distances, half_widths, strict=True)
        ),
        half_width_median=median(half_widths),
        residual_millijoules=sum(
            one.books.counted_millijoules
            - sum(segment.millijoules for segment in one.books.segments)
            for one in days
        ),
        looks_per_second=mean(one.looks_per_second for one in days),
    )


def simpler_errors(days: Sequence[MeteredDay]) -> dict[str, list[float]]:
    """Signed errors of other ways to measure images that are drawn alone."""
    found: dict[str, list[float]] = {"begin/end": [], "linear": [], "power × time": []}
    for one in days:
        for image_id, (start_nanos, end_nanos) in one.day.spans.items():
            took = one.day.card.energy_at(end_nanos) - one.day.card.energy_at(start_nanos)
            for way, energy in _simpler(one.driver, start_nanos, end_nanos):
                found[way].append((energy - took) / took)
            assert image_id in one.day.truth
    return found


def _simpler(driver: FakePynvml, start_nanos: int, end_nanos: int) -> Iterator[tuple[str, float]]:
    yield "begin/end", driver.shown_at(end_nanos) - driver.shown_at(start_nanos)
    yield "linear", _linear(driver, end_nanos) - _linear(driver, start_nanos)
    watts = driver.card.watts_at(end_nanos, averaged_over_ms=1000)
    yield "power × time", watts * (end_nanos - start_nanos) / MS


def _linear(driver: FakePynvml, nanos: int) -> float:
    """The counter between its two moves around a moment, whose times are taken to be known."""
    before = driver.last_move(nanos)
    after = driver.last_move(round(before + 1.5 * driver.habits.refresh_ms * MS))
    shown = driver.shown_at(round(before) + 1)
    following = driver.shown_at(round(after) + 1)
    return shown + (following - shown) * (nanos - before) / (after - before)
