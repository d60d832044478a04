"""How near the meter comes to a truth whose physics differ from its model.

The figures of benchmarks/energy_accuracy.py over shorter days, and what becomes of them when the
counter fails: nothing is lost, and nothing is told as surer than it is.
"""

import random
from itertools import pairwise

import pynvml  # pyright: ignore[reportMissingTypeStubs]
import pytest

from metering import nvml
from metering.energy_source import EnergySource
from metering.errors import CounterUnavailableError
from metering.power import SegmentKind
from tests.gpu_simulation.accuracy import Figures, figures_of, metered_day, simpler_errors
from tests.gpu_simulation.card import SimulatedCard
from tests.gpu_simulation.fake_pynvml import CounterHabits, FakePynvml, SimulatedClock
from tests.gpu_simulation.metered_card import Books, metered
from tests.gpu_simulation.work import Day

SECOND = 1_000_000_000


def at_100_ms(*, in_batches: bool) -> Figures:
    habits = CounterHabits(refresh_ms=100.0, phase_ms=61.0, lag_ms=12.0)
    return figures_of(
        [metered_day(seed, in_batches=in_batches, seconds=12, habits=habits) for seed in range(3)]
    )


@pytest.mark.parametrize("in_batches", [False, True])
def test_images_get_what_they_took_within_two_percent_and_the_intervals_cover_it(
    *, in_batches: bool
) -> None:
    figures = at_100_ms(in_batches=in_batches)

    assert figures.images > 40
    assert figures.residual_millijoules == 0
    assert figures.error_mean <= 0.02
    assert figures.error_p95 <= 0.05
    assert figures.covered >= 0.95
    assert figures.half_width_median <= 0.05
    assert figures.looks_per_second <= 20 * 1.3, "the start measures the period for half a second"


def test_the_counters_difference_and_power_times_time_are_far_worse() -> None:
    habits = CounterHabits()
    day = metered_day(1, in_batches=False, seconds=20, habits=habits)

    errors = {
        way: sum(abs(error) for error in found) / len(found)
        for way, found in simpler_errors([day]).items()
    }

    ours = figures_of([day]).error_mean
    assert ours < errors["linear"] < errors["begin/end"]
    assert ours < errors["power × time"]


@pytest.mark.parametrize("refresh_ms", [10.0, 20.0, 50.0])
def test_a_counter_that_moves_more_often_loses_nothing_and_covers_the_truth(
    refresh_ms: float,
) -> None:
    habits = CounterHabits(refresh_ms=refresh_ms, phase_ms=3.0, lag_ms=5.0)

    figures = figures_of([metered_day(2, in_batches=False, seconds=15, habits=habits)])

    assert figures.residual_millijoules == 0
    assert figures.error_mean <= 0.02
    assert figures.covered >= 0.95


def a_day(seed: int = 4, *, seconds: float = 8) -> Day:
    source = random.Random(seed)
    day = Day(SimulatedCard(source))
    day.card.rest(500)
    day.load()
    day.one_after_the_other(source, seconds=seconds)
    day.card.rest(1500)
    return day


def watch(day: Day, habits: CounterHabits, *, fail_between: tuple[int, int] = (0, 0)) -> Books:
    """Meter a day; the driver answers nothing from one moment to the other."""
    clock = SimulatedClock()
    driver = FakePynvml(day.card, habits, now=clock.now, spend=clock.pass_by)

    def happen(nanos: int) -> None:
        is_failing = fail_between[0] <= nanos < fail_between[1]
        driver.failure = pynvml.NVML_ERROR_GPU_IS_LOST if is_failing else None

    seconds = day.card.now_nanos / SECOND - 0.2
    return metered(driver, day.marks, clock=clock, seconds=seconds, happen=happen)


def parts_of(books: Books) -> dict[SegmentKind, int]:
    parts: dict[SegmentKind, int] = {}
    for segment in books.segments:
        parts[segment.kind] = parts.get(segment.kind, 0) + segment.millijoules
    return parts


def is_gapless(books: Books) -> bool:
    return all(before.end_time == after.start_time for before, after in pairwise(books.segments))


def test_a_driver_that_fails_in_the_middle_of_images_loses_no_joule() -> None:
    day = a_day()

    books = watch(day, CounterHabits(), fail_between=(5 * SECOND, 6 * SECOND))

    assert is_gapless(books)
    assert sum(parts_of(books).values()) == books.counted_millijoules
    told = books.of_images()
    took = sum(day.truth.values())
    # Within a second without readings energy goes by the model, and all of it goes somewhere.
    assert abs(sum(told[image][0] for image in day.truth) - took) <= 0.02 * took


def test_what_a_stalled_counter_kept_back_goes_to_whoever_worked_meanwhile() -> None:
    day = a_day()

    books = watch(day, CounterHabits(stall_nanos=(5 * SECOND, 6_500_000_000)))

    assert is_gapless(books)
    assert sum(parts_of(books).values()) == books.counted_millijoules
    told = books.of_images()
    for image_id, took in day.truth.items():
        millijoules, error = told[image_id]
        assert abs(millijoules - took) <= max(0.2 * took, 3 * error)


def test_a_counter_that_is_reset_begins_an_epoch_and_the_time_between_is_unknown() -> None:
    day = a_day()

    books = watch(day, CounterHabits(reset_nanos=7 * SECOND))

    assert {batch.epoch for batch in books.batches} == {1, 2}
    assert is_gapless(books)
    assert sum(parts_of(books).values()) == books.counted_millijoules
    unknown = [one for one in books.segments if one.kind is SegmentKind.UNKNOWN]
    assert [one.millijoules for one in unknown] == [0]
    # What was counted between the last reading before and the reset nobody can know any more.
    lost = sum(day.truth.values()) - sum(energy for energy, _ in books.of_images().values())
    assert 0 < lost <= 500_000


def driver_with(habits: CounterHabits) -> FakePynvml:
    card = SimulatedCard(random.Random(1))
    card.rest(2000)
    return FakePynvml(card, habits, now=lambda: card.now_nanos)


def test_a_card_without_the_counter_is_integrated_from_its_power_and_told_as_such() -> None:
    day = a_day()

    books = watch(day, CounterHabits(is_counter_supported=False))

    assert {segment.source for segment in books.segments} == {EnergySource.NVML_POWER}
    assert sum(parts_of(books).values()) == books.counted_millijoules


def test_a_card_split_by_mig_is_told_as_estimated() -> None:
    (counter,) = nvml.open_counters(driver_with(CounterHabits(is_split=True)))

    assert counter.facts.source is EnergySource.ESTIMATED


def test_a_driver_that_answers_nothing_now_is_asked_again() -> None:
    driver = driver_with(CounterHabits())
    (counter,) = nvml.open_counters(driver)
    driver.failure = pynvml.NVML_ERROR_TIMEOUT

    with pytest.raises(CounterUnavailableError):
        counter.read(0)
    driver.failure = None
    assert counter.read(0) > 0
