"""A GPU that warms with its work and cools by itself, against the pace it is given."""

from math import exp

from hypothesis import given, settings
from hypothesis import strategies as st

from services.fleet.heat import HeatControl, PowerPolicy

POLICY = PowerPolicy(temperature_celsius_max=80.0, duty_cycle_max=0.9)


def test_a_cool_card_works_as_much_as_its_policy_allows() -> None:
    assert HeatControl().duty_cycle(POLICY, temperature_celsius=70.0, now=0.0) == 0.9


def test_it_slows_before_the_limit_and_never_stops() -> None:
    assert HeatControl().duty_cycle(POLICY, temperature_celsius=75.0, now=0.0) == 0.5
    assert HeatControl().duty_cycle(POLICY, temperature_celsius=80.0, now=0.0) == 0.1
    assert HeatControl().duty_cycle(POLICY, temperature_celsius=97.0, now=0.0) == 0.1


def test_without_a_sensor_only_the_load_is_bounded() -> None:
    assert HeatControl().duty_cycle(POLICY, temperature_celsius=None, now=0.0) == 0.9


def test_while_the_meter_is_away_the_pace_stays() -> None:
    heat = HeatControl()
    heat.duty_cycle(POLICY, temperature_celsius=75.0, now=0.0)

    assert heat.duty_cycle(POLICY, temperature_celsius=None, now=60.0) == 0.5


def test_a_stricter_policy_holds_at_once_and_a_looser_one_step_by_step() -> None:
    heat = HeatControl()
    stricter = PowerPolicy(temperature_celsius_max=80.0, duty_cycle_max=0.4)
    heat.duty_cycle(POLICY, temperature_celsius=50.0, now=0.0)

    assert heat.duty_cycle(stricter, temperature_celsius=50.0, now=1.0) == 0.4
    assert heat.duty_cycle(POLICY, temperature_celsius=50.0, now=11.0) == 0.5


@settings(max_examples=30, deadline=None)
@given(
    ambient=st.floats(20.0, 55.0),
    rise_at_full_load=st.floats(20.0, 60.0),
    time_constant=st.floats(10.0, 60.0),
    noise=st.lists(st.floats(-1.0, 1.0), min_size=7, max_size=7),
)
def test_a_card_settles_below_the_limit_without_stop_and_go(
    ambient: float, rise_at_full_load: float, time_constant: float, noise: list[float]
) -> None:
    heat = HeatControl()
    celsius, duty_cycles, temperatures = ambient, list[float](), list[float]()

    for second in range(900):
        seen = round(celsius + noise[second % len(noise)])
        duty_cycle = heat.duty_cycle(POLICY, temperature_celsius=seen, now=float(second))
        goal = ambient + rise_at_full_load * duty_cycle
        celsius = goal + (celsius - goal) * exp(-1 / time_constant)
        temperatures.append(celsius)
        duty_cycles.append(duty_cycle)

    assert max(temperatures) < 80.0
    settled = duty_cycles[600:]
    # A sensor tells whole degrees, and one degree is 0.08 of the pace.
    assert max(settled) - min(settled) <= 0.2
