"""When tokens count as lost."""

from services.housekeeper.missing_tokens import seen_twice
from tenants.ids import TenantId

ACME, ZETA = (TenantId("acme"), "mini"), (TenantId("zeta"), "mini")


def test_what_is_missing_for_the_first_time_may_be_on_its_way() -> None:
    assert seen_twice({}, {ACME: 5}) == {}


def test_what_is_missing_twice_is_lost_as_far_as_both_agree() -> None:
    assert seen_twice({ACME: 5, ZETA: 1}, {ACME: 3, ZETA: 9}) == {ACME: 3, ZETA: 1}


def test_what_was_found_meanwhile_is_not_replaced() -> None:
    assert seen_twice({ACME: 5}, {}) == {}
