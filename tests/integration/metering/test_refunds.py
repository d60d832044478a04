"""Credit that is paid back: out of the wallet and its lots, never more than was prepaid."""

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from metering import accounts, ledger
from metering.credit_lots import list_lots
from metering.errors import InsufficientBalanceError
from metering.invariants import check_invariants
from metering.ledger_chain import seal_block, verify_ledger
from metering.refunds import prepaid_nanos, refund_credit
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import Shop, open_shop

CREDIT_NANOS = 10_000_000
HOLD_NANOS = 2_513_889
PRICE_NANOS = 750_312


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    return await open_shop(connection, become, tenant_id="acme-refunded", credit_nanos=CREDIT_NANOS)


async def refund(shop: Shop, amount_nanos: int) -> ledger.Transfer:
    await shop.as_role("atelier_operator")
    async with shop.connection.transaction():
        return await refund_credit(
            shop.connection,
            tenant_id=shop.tenant_id,
            amount_nanos=amount_nanos,
            currency="EUR",
            reference="wire 4711",
            request_id=None,
        )


async def left_nanos(shop: Shop) -> int:
    await shop.as_role("atelier_operator")
    return await prepaid_nanos(shop.connection, tenant_id=shop.tenant_id, currency="EUR")


async def violations(shop: Shop) -> dict[str, int]:
    await shop.as_role("atelier_housekeeper")
    found = await check_invariants(shop.connection, tenant_id=shop.tenant_id)
    return {name: count for name, count in found.items() if count}


async def test_a_refund_goes_back_to_where_the_credit_came_from(shop: Shop) -> None:
    await shop.sell()

    transfer = await refund(shop, CREDIT_NANOS - PRICE_NANOS)

    assert (transfer.debit_account, transfer.credit_account) == ("WALLET", "FUNDING")
    assert (transfer.reason, transfer.description) == ("REFUND", "wire 4711")
    assert await left_nanos(shop) == 0
    lots = await list_lots(shop.connection, tenant_id=shop.tenant_id, currency="EUR")
    assert [lot.rest_nanos for lot in lots] == [0]
    assert await violations(shop) == {}


async def test_what_a_hold_stands_on_is_not_paid_back(shop: Shop) -> None:
    await shop.accept()

    with pytest.raises(InsufficientBalanceError):
        await refund(shop, CREDIT_NANOS - HOLD_NANOS + 1)
    await refund(shop, CREDIT_NANOS - HOLD_NANOS)

    assert await left_nanos(shop) == 0
    assert await violations(shop) == {}


async def test_what_a_credit_limit_lends_is_not_paid_back(shop: Shop) -> None:
    await shop.as_role("atelier_operator")
    await accounts.set_credit_limit(
        shop.connection, tenant_id=shop.tenant_id, currency="EUR", credit_limit_nanos=5_000_000
    )

    with pytest.raises(InsufficientBalanceError):
        await refund(shop, CREDIT_NANOS + 1)

    assert await left_nanos(shop) == CREDIT_NANOS


async def test_credit_whose_time_is_over_expires_and_is_not_paid_back(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await open_shop(connection, become, tenant_id="acme-too-late", credit_nanos=1_000)
    await shop.as_role("atelier_operator")
    lot = await ledger.grant_credit(
        connection,
        tenant_id=shop.tenant_id,
        amount_nanos=5_000,
        currency="EUR",
        description="",
        request_id=None,
        expire_time=datetime.now(UTC) + timedelta(days=1),
    )
    await shop.without_guards(
        "UPDATE credit_lots SET expire_time = now() - interval '1 s' WHERE lot_id = %s",
        lot.transfer_id,
    )

    with pytest.raises(InsufficientBalanceError):
        await refund(shop, 1_001)
    await refund(shop, 1_000)

    assert await left_nanos(shop) == 0
    assert await violations(shop) == {}


async def test_a_month_that_was_prepaid_is_invoiced_the_same_after_the_rest_was_paid_back(
    shop: Shop,
) -> None:
    october = datetime(2026, 10, 20, tzinfo=UTC)
    await shop.open_since(october)
    await shop.grant_early(october)
    await shop.move_charges(await shop.sell(), october + timedelta(days=1))
    await refund(shop, CREDIT_NANOS - PRICE_NANOS)

    invoice = await shop.finalize("2026-10", now=datetime(2026, 11, 10, tzinfo=UTC))

    assert invoice.credit_applied_nanos == PRICE_NANOS
    await shop.as_role("atelier_housekeeper")
    await seal_block(shop.connection, shop.tenant_id)
    await shop.as_role("atelier_gateway")
    proof = await verify_ledger(shop.connection, shop.tenant_id)
    assert proof.first_inconsistency is None
    assert await violations(shop) == {}
