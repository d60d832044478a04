"""What a tenant may burn by creating and cancelling."""

from services.fleet.burn_limit import FORGIVEN_PER_SECOND, BurnLimit


def test_below_the_limit_nobody_waits() -> None:
    limit = BurnLimit(burnt_seconds_max=100.0)

    limit.note_burnt("acme", 100.0, now=0.0)

    assert not limit.is_restrained("acme", now=0.0)
    assert not limit.is_restrained("zeta", now=0.0)


def test_above_the_limit_it_waits_until_half_is_worked_off() -> None:
    limit = BurnLimit(burnt_seconds_max=100.0)

    limit.note_burnt("acme", 110.0, now=0.0)

    assert FORGIVEN_PER_SECOND == 0.1
    assert limit.is_restrained("acme", now=0.0)
    assert limit.is_restrained("acme", now=599.0)
    assert not limit.is_restrained("acme", now=601.0)


def test_pictures_work_it_off_and_nothing_can_be_saved_up() -> None:
    limit = BurnLimit(burnt_seconds_max=100.0)
    limit.note_burnt("acme", 90.0, now=0.0)
    limit.note_drawn("acme", 500.0, now=0.0)

    limit.note_burnt("acme", 101.0, now=0.0)

    assert limit.is_restrained("acme", now=0.0)
