"""Moments of a counter that moves now and then, as looks at it tell them."""

from hypothesis import given
from hypothesis import strategies as st

from metering.energy import Reading
from metering.refresh_tracker import RefreshTracker, measure_period_nanos

MS = 1_000_000
LOOK_MS = 4.6


class MovingCounter:
    """Moves every period, by one; a look takes a while."""

    def __init__(self, *, period_ms: float, phase_ms: float) -> None:
        self.period_ms = period_ms
        self.phase_ms = phase_ms
        self.now_ms = 0.0

    def value_at(self, ms: float) -> int:
        return 1000 + int((ms - self.phase_ms) // self.period_ms)

    def last_move_ms(self, ms: float) -> float:
        return self.phase_ms + (ms - self.phase_ms) // self.period_ms * self.period_ms

    def look(self, tracker: RefreshTracker) -> Reading | None:
        before_ms = self.now_ms
        value = self.value_at(before_ms + LOOK_MS / 2)
        self.now_ms += LOOK_MS
        return tracker.look(
            before_nanos=int(before_ms * MS),
            after_nanos=int(self.now_ms * MS),
            millijoules=value,
        )

    def read(self) -> int:
        self.now_ms += LOOK_MS
        return self.value_at(self.now_ms - LOOK_MS / 2)


def readings_of(
    counter: MovingCounter, tracker: RefreshTracker, *, looks: int
) -> list[tuple[Reading, float]]:
    """Look when the tracker says; each reading comes with the move it stands for."""
    found: list[tuple[Reading, float]] = []
    for _ in range(looks):
        counter.now_ms = max(counter.now_ms, tracker.next_look_nanos(eager=True) / MS)
        sampled_ms = counter.now_ms + LOOK_MS / 2
        if (reading := counter.look(tracker)) is not None:
            found.append((reading, counter.last_move_ms(sampled_ms)))
    return found


@given(phase_ms=st.floats(0, 99.9), stated_ms=st.floats(99, 101))
def test_after_three_seconds_each_moment_is_known_to_a_few_milliseconds(
    phase_ms: float, stated_ms: float
) -> None:
    counter = MovingCounter(period_ms=100.0, phase_ms=phase_ms)
    tracker = RefreshTracker(period_nanos=int(stated_ms * MS))

    readings_of(counter, tracker, looks=60)
    later = readings_of(counter, tracker, looks=60)

    assert len(later) >= 25
    assert all(abs(reading.nanos / MS - move_ms) <= 13 for reading, move_ms in later)
    assert sum(reading.timing_nanos for reading, _ in later) / len(later) <= 5 * MS


def test_looks_are_no_more_than_twenty_a_second() -> None:
    counter = MovingCounter(period_ms=100.0, phase_ms=42.0)
    tracker = RefreshTracker(period_nanos=100 * MS)
    readings_of(counter, tracker, looks=40)
    start_ms = counter.now_ms

    readings_of(counter, tracker, looks=200)

    assert 200 / (counter.now_ms - start_ms) * 1000 <= 20.5


def test_a_counter_that_stalls_gives_no_reading_until_it_moves_again() -> None:
    tracker = RefreshTracker(period_nanos=100 * MS)
    tracker.look(before_nanos=100 * MS, after_nanos=104 * MS, millijoules=5)

    looks = [
        tracker.look(before_nanos=at * MS, after_nanos=(at + 4) * MS, millijoules=5)
        for at in range(150, 5_000, 50)
    ]
    moved = tracker.look(before_nanos=5_000 * MS, after_nanos=5_004 * MS, millijoules=3_000_000)

    assert set(looks) == {None}
    assert moved is not None
    assert 4_950 <= moved.nanos / MS <= 5_004


def test_after_ten_seconds_a_standing_counter_is_believed() -> None:
    tracker = RefreshTracker(period_nanos=100 * MS)
    tracker.look(before_nanos=100 * MS, after_nanos=104 * MS, millijoules=5)

    reading = tracker.look(before_nanos=10_200 * MS, after_nanos=10_204 * MS, millijoules=5)

    assert reading is not None
    assert (reading.nanos, reading.millijoules) == (10_200 * MS, 5)


def test_the_period_is_measured_by_looking_as_fast_as_it_goes() -> None:
    counter = MovingCounter(period_ms=70.0, phase_ms=11.0)

    measured = measure_period_nanos(
        counter.read, now=lambda: int(counter.now_ms * MS), unknown_nanos=100 * MS
    )

    assert abs(measured / MS - 70.0) <= 2


def test_a_counter_that_hardly_moves_is_taken_as_stated() -> None:
    counter = MovingCounter(period_ms=400.0, phase_ms=11.0)

    measured = measure_period_nanos(
        counter.read, now=lambda: int(counter.now_ms * MS), unknown_nanos=100 * MS
    )

    assert measured == 100 * MS
