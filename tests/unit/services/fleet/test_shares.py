"""Who had how much GPU time."""

from services.fleet.shares import Shares


def test_time_counts_by_devices_and_weight() -> None:
    shares = Shares()
    weights = {"acme": 1.0, "zeta": 2.0}
    shares.advance(0.0, device_counts={}, weights=weights)

    shares.advance(10.0, device_counts={"acme": 1, "zeta": 3}, weights=weights)

    assert shares.used_seconds("acme") == 10.0
    assert shares.used_seconds("zeta") == 15.0


def test_time_without_work_is_not_booked() -> None:
    shares = Shares()
    shares.advance(0.0, device_counts={}, weights={})

    shares.advance(10.0, device_counts={"acme": 1}, weights={})

    assert shares.used_seconds("acme") == 0.0


def test_who_was_alone_for_hours_owes_nothing_to_who_comes_later() -> None:
    shares = Shares()
    shares.advance(0.0, device_counts={}, weights={"acme": 1.0})
    shares.advance(7200.0, device_counts={"acme": 1}, weights={"acme": 1.0})

    shares.advance(1.0, device_counts={"acme": 1}, weights={"acme": 1.0, "zeta": 1.0})

    assert shares.used_seconds("zeta") == 7200.0
    assert shares.used_seconds("acme") == 7201.0


def test_a_pause_saves_nothing_up() -> None:
    shares = Shares()
    both = {"acme": 1.0, "zeta": 1.0}
    shares.advance(0.0, device_counts={}, weights=both)
    shares.advance(1.0, device_counts={"acme": 1}, weights={"acme": 1.0})
    shares.advance(600.0, device_counts={"acme": 1}, weights={"acme": 1.0})

    shares.advance(1.0, device_counts={"acme": 1}, weights=both)

    assert shares.used_seconds("zeta") == shares.used_seconds("acme") - 1.0


def test_the_account_of_a_tenant_that_is_gone_is_dropped() -> None:
    shares = Shares()
    shares.advance(0.0, device_counts={}, weights={"acme": 1.0})
    shares.advance(5.0, device_counts={"acme": 1}, weights={"acme": 1.0})

    shares.forget_all_but(frozenset({"zeta"}))

    assert shares.used_seconds("acme") == 0.0
