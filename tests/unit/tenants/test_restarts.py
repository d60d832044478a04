"""When a process that died is started again."""

from tenants.launchers.restarts import Restarts


def test_the_wait_doubles_with_each_death_up_to_half_a_minute() -> None:
    restarts = Restarts()

    waits = [restarts.died(now=float(number)) for number in range(9)]

    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_nothing_is_started_while_its_wait_lasts() -> None:
    restarts = Restarts()

    restarts.died(now=100.0)

    assert (restarts.may_start(now=100.4), restarts.may_start(now=100.5)) == (False, True)


def test_one_that_was_well_for_a_minute_begins_anew() -> None:
    restarts = Restarts()
    restarts.died(now=0.0)
    restarts.died(now=1.0)
    restarts.started(now=10.0)

    assert restarts.died(now=80.0) == 0.5
    assert restarts.count == 3
