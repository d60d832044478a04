"""Credit in lots: used in order, across several, expired as far as no hold stands on it."""

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from metering import accounts, ledger, ledger_reading
from metering.credit_lots import ExpiredLot, list_lots, lots_to_expire
from metering.errors import InsufficientBalanceError
from metering.invariants import check_invariants
from services.jobs.cancellation import cancel_job
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import Shop, open_shop

HOLD_NANOS = 2_513_889
PRICE_NANOS = 750_312
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """A shop whose welcome credit is gone but for what the tests grant."""
    return await open_shop(connection, become, tenant_id="acme-of-lots", credit_nanos=0)


async def grant(
    shop: Shop, amount_nanos: int, *, priority: int = 0, expire_time: datetime | None = None
) -> int:
    await shop.as_role("atelier_operator")
    transfer = await ledger.grant_credit(
        shop.connection,
        tenant_id=shop.tenant_id,
        amount_nanos=amount_nanos,
        currency="EUR",
        description="",
        request_id=None,
        priority=priority,
        expire_time=expire_time,
    )
    return transfer.transfer_id


async def rests(shop: Shop) -> dict[int, int]:
    await shop.as_role("atelier_gateway")
    lots = await list_lots(shop.connection, tenant_id=shop.tenant_id, currency="EUR")
    violations = await check_invariants(shop.connection)
    assert not any(violations.values()), violations
    return {lot.lot_id: lot.rest_nanos for lot in lots}


async def expire(shop: Shop, *, now: datetime = LATER) -> int:
    await shop.as_role("atelier_housekeeper")
    lots = await lots_to_expire(shop.connection, now=now, limit=10)
    return sum(
        [
            await ledger.expire_credit(shop.connection, lot)
            for lot in lots
            if lot.tenant_id == shop.tenant_id
        ]
    )


async def test_lots_are_used_by_priority_then_by_expiry_and_across_several(shop: Shop) -> None:
    last = await grant(shop, 10_000_000, priority=1, expire_time=LATER)
    never = await grant(shop, 10_000_000)
    first = await grant(shop, 500_000, expire_time=LATER)

    await shop.sell()

    assert await rests(shop) == {
        first: 0,
        never: 10_000_000 - (PRICE_NANOS - 500_000),
        last: 10_000_000,
    }


async def test_what_holds_stand_on_expires_only_when_they_are_resolved(shop: Shop) -> None:
    lot = await grant(shop, 2 * HOLD_NANOS, expire_time=LATER)
    await shop.accept()
    claimed = await shop.claim()

    expired_at_first = await expire(shop)
    await shop.draw(claimed)
    expired_later = await expire(shop)

    assert expired_at_first == HOLD_NANOS
    assert expired_later == HOLD_NANOS - PRICE_NANOS
    assert await rests(shop) == {lot: 0}
    assert await expire(shop) == 0


async def test_credit_expires_at_its_time_and_not_before(shop: Shop) -> None:
    await grant(shop, 1_000, expire_time=LATER)

    assert await expire(shop, now=LATER - timedelta(microseconds=1)) == 0
    assert await expire(shop, now=LATER) == 1_000


async def test_expired_credit_cannot_be_spent(shop: Shop) -> None:
    await grant(shop, HOLD_NANOS, expire_time=LATER)
    await expire(shop)

    with pytest.raises(InsufficientBalanceError):
        await shop.accept()


async def let_expire(shop: Shop, lot_id: int) -> None:
    """Let a lot's time have been over for an hour."""
    await shop.without_guards(
        "UPDATE credit_lots SET expire_time = now() - interval '1 hour' WHERE lot_id = %s", lot_id
    )


async def test_credit_whose_time_is_over_is_not_held_before_the_housekeeper_came(
    shop: Shop,
) -> None:
    lot = await grant(shop, 10 * HOLD_NANOS, expire_time=LATER)
    await let_expire(shop, lot)

    with pytest.raises(InsufficientBalanceError):
        await shop.accept()


async def test_expired_credit_that_a_hold_kept_is_gone_with_the_hold(shop: Shop) -> None:
    lot = await grant(shop, 2 * HOLD_NANOS, expire_time=LATER)
    await shop.accept()
    claimed = await shop.claim()
    cancelled = await shop.accept()
    await let_expire(shop, lot)
    await shop.as_role("atelier_gateway")

    await cancel_job(shop.connection, cancelled)
    after_release = await rests(shop)
    await shop.draw(claimed)

    # The running image's hold still stood on it then; it has been charged since.
    assert after_release == {lot: HOLD_NANOS}
    assert await rests(shop) == {lot: 0}
    with pytest.raises(InsufficientBalanceError):
        await shop.accept()


async def test_a_lot_that_holds_stand_on_keeps_no_other_from_expiring(shop: Shop) -> None:
    kept = await grant(shop, HOLD_NANOS, expire_time=LATER - timedelta(hours=1))
    await shop.accept()
    free = await grant(shop, 1_000, expire_time=LATER)
    await shop.as_role("atelier_housekeeper")

    found: list[ExpiredLot] = []
    while page := await lots_to_expire(
        shop.connection, now=LATER, limit=1, after=found[-1] if found else None
    ):
        found += page

    assert [lot.lot_id for lot in found if lot.tenant_id == shop.tenant_id] == [kept, free]


async def test_a_credit_limit_lets_the_wallet_go_below_zero_so_far(shop: Shop) -> None:
    await set_limit(shop, HOLD_NANOS)
    await shop.sell()

    balance = await ledger_reading.get_balance(
        shop.connection, tenant_id=shop.tenant_id, currency="EUR"
    )
    assert balance is not None
    assert balance.available_nanos == HOLD_NANOS - PRICE_NANOS
    with pytest.raises(InsufficientBalanceError):
        await shop.accept()


async def test_new_credit_pays_what_is_owed_before_it_makes_a_rest(shop: Shop) -> None:
    await set_limit(shop, HOLD_NANOS)
    await shop.sell()

    lot = await grant(shop, 1_000_000, expire_time=LATER)

    assert await rests(shop) == {lot: 1_000_000 - PRICE_NANOS}


async def test_a_credit_limit_below_what_is_owed_is_refused(shop: Shop) -> None:
    await set_limit(shop, HOLD_NANOS)
    await shop.sell()

    with pytest.raises(InsufficientBalanceError):
        await set_limit(shop, PRICE_NANOS - 1)


async def set_limit(shop: Shop, credit_limit_nanos: int) -> None:
    await shop.as_role("atelier_operator")
    await accounts.set_credit_limit(
        shop.connection,
        tenant_id=shop.tenant_id,
        currency="EUR",
        credit_limit_nanos=credit_limit_nanos,
    )
