"""Work and rest on a clock that only moves when somebody works or sleeps."""

from hypothesis import given
from hypothesis import strategies as st

from services.engine.duty_cycle import CREDIT_SECONDS_MAX, DutyCycle


class Clock:
    """Time that passes by work, by rest, and by what nobody planned."""

    def __init__(self) -> None:
        self.now = 0.0
        self.worked_seconds = 0.0

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.worked_seconds += seconds

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_half_the_time_means_a_rest_as_long_as_the_work() -> None:
    duty_cycle = DutyCycle(now=0.0)
    duty_cycle.fraction = 0.5

    assert duty_cycle.rest_after(0.25, now=0.25) == 0.25


def test_at_full_speed_nobody_rests() -> None:
    duty_cycle = DutyCycle(now=0.0)

    assert duty_cycle.rest_after(5.0, now=5.0) == 0.0


def test_a_rest_that_was_too_long_makes_the_next_one_shorter() -> None:
    duty_cycle = DutyCycle(now=0.0)
    duty_cycle.fraction = 0.5
    duty_cycle.rest_after(1.0, now=1.0)

    # The rest of one second took 1.75; then one second was worked.
    assert duty_cycle.rest_after(1.0, now=3.75) == 0.25


def test_a_long_pause_gives_no_more_than_the_credit_of_a_short_one() -> None:
    duty_cycle = DutyCycle(now=0.0)
    duty_cycle.fraction = 0.5

    rests = [duty_cycle.rest_after(1.0, now=3600.0 + second) for second in range(1, 5)]

    assert CREDIT_SECONDS_MAX == 2.0
    assert rests == [0.0, 0.0, 0.0, 1.0]


@given(
    fraction=st.floats(0.1, 0.99),
    steps=st.lists(
        # Work of a step, what Python does between steps, and how much too long the rest was.
        st.tuples(st.floats(0.01, 0.8), st.floats(0.0, 0.002), st.floats(0.0, 0.004)),
        min_size=1,
        max_size=20,
    ),
)
def test_the_fraction_is_held_within_two_points_over_a_minute(
    fraction: float, steps: list[tuple[float, float, float]]
) -> None:
    clock = Clock()
    duty_cycle = DutyCycle(now=clock.now)
    duty_cycle.fraction = fraction

    while clock.now < 120.0:
        for work_seconds, between_seconds, oversleep_seconds in steps:
            clock.work(work_seconds)
            rest_seconds = duty_cycle.rest_after(work_seconds, now=clock.now)
            if rest_seconds > 0:
                clock.pass_by(rest_seconds + oversleep_seconds)
            clock.pass_by(between_seconds)

    # What Python does between steps may be more rest than was asked for.
    work = sum(step[0] for step in steps)
    reachable = work / (work + sum(step[1] for step in steps))
    assert abs(clock.worked_seconds / clock.now - min(fraction, reachable)) <= 0.02
