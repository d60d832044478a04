"""What a device draws, as its counter teaches it."""

from metering.power import AttemptWork, Drawn, LearnedPower, PowerModel, SegmentKind
from tenants.ids import ImageId

MS = 1_000_000
MODEL = PowerModel(idle_watts=100.0, free_watts=80.0, load_watts=300.0, joules_per_work_unit=1.0)


def work(units: float = 60.0) -> tuple[AttemptWork, ...]:
    """A hundred milliseconds at 600 W over idle."""
    return (AttemptWork(ImageId("cat"), 1, units),)


def teach(power: LearnedPower, *, millijoules: int, units: float = 60.0, times: int = 1) -> None:
    for _ in range(times):
        taken = power.of(SegmentKind.WORK, work(units), 100 * MS)
        power.learn([Drawn(taken, 100 * MS)], millijoules=millijoules, error_millijoules=0.0)


def test_before_it_learns_it_says_what_the_model_says() -> None:
    power = LearnedPower(MODEL)

    told = {
        kind: round(power.of(kind, (), 1).watts)
        for kind in (SegmentKind.PARKED, SegmentKind.FREE, SegmentKind.LOAD, SegmentKind.SILENT)
    }

    assert told == {
        SegmentKind.PARKED: 100,
        SegmentKind.FREE: 80,
        SegmentKind.LOAD: 300,
        SegmentKind.SILENT: 300,
    }
    assert round(power.of(SegmentKind.WORK, work(), 100 * MS).watts) == 700


def test_a_shape_of_work_comes_to_draw_what_the_counter_says() -> None:
    power = LearnedPower(MODEL)

    teach(power, millijoules=80_000, times=10)

    learned = power.of(SegmentKind.WORK, work(), 100 * MS)
    assert abs(learned.watts - 800) < 4
    assert learned.error < 0.03


def test_what_one_shape_taught_is_where_another_starts_from_with_all_its_doubt() -> None:
    power = LearnedPower(MODEL)
    teach(power, millijoules=35_000, times=10)

    other = power.of(SegmentKind.WORK, work(30.0), 100 * MS)

    assert abs(other.watts - 200) < 2
    assert other.error == 0.15


def test_an_increment_moves_what_is_not_known_more_than_what_is() -> None:
    power = LearnedPower(MODEL)
    teach(power, millijoules=70_000, times=30)
    known = power.of(SegmentKind.WORK, work(), 50 * MS)
    unknown = power.of(SegmentKind.WORK, work(7.0), 50 * MS)

    power.learn(
        [Drawn(known, 50 * MS), Drawn(unknown, 50 * MS)],
        millijoules=round((known.watts + unknown.watts) * 50 * 1.1),
        error_millijoules=0.0,
    )

    known_change = power.of(SegmentKind.WORK, work(), 50 * MS).watts / known.watts
    unknown_change = power.of(SegmentKind.WORK, work(7.0), 50 * MS).watts / unknown.watts
    assert 1 <= known_change < unknown_change


def test_a_counter_that_lags_is_found_out_where_power_changes() -> None:
    power = LearnedPower(MODEL)
    idle = power.of(SegmentKind.PARKED, (), 1)
    busy = power.of(SegmentKind.WORK, work(), 100 * MS)

    for _ in range(20):
        # Each begins idle and ends busy: what is shown 15 ms late lacks 15 ms of the difference.
        left_ms = 15 - power.lag_nanos / MS
        power.learn(
            [Drawn(idle, 50 * MS), Drawn(busy, 50 * MS)],
            millijoules=round(50 * 100 + 50 * 700 - left_ms * 600),
            error_millijoules=0.0,
        )

    assert power.lag_nanos / MS > 5
    assert power.lag_error_nanos < 10 * MS


def test_shapes_that_a_worker_invents_are_forgotten() -> None:
    power = LearnedPower(MODEL)
    teach(power, millijoules=140_000, times=10)

    for units in range(100, 900):
        teach(power, millijoules=70_000, units=float(units))

    assert power.of(SegmentKind.WORK, work(), 100 * MS).error == 0.15
