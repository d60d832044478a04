"""Every invariant is silent while all is well, and tells of exactly the harm it watches for."""

from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest
from psycopg import AsyncConnection

from metering.invariants import WHOLE_ONLY, check_changed, check_invariants
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import Shop, open_shop

# What each invariant watches for, done to the one tenant whose id is the parameter.
HARM: dict[str, LiteralString] = {
    "billed_not_succeeded": """
        UPDATE images SET state = 'FAILED' WHERE tenant_id = %s AND state = 'SUCCEEDED'
    """,
    "succeeded_not_billed": """
        DELETE FROM transfers WHERE tenant_id = %s AND kind = 'POST'
    """,
    "hold_resolved_twice": """
        INSERT INTO transfers (tenant_id, kind, debit_account, credit_account, amount_nanos,
            currency, pending_id, image_id, job_id, reason)
        SELECT tenant_id, 'VOID', debit_account, credit_account, 0, currency, pending_id, image_id,
            job_id, 'RELEASE'
        FROM transfers WHERE tenant_id = %s AND kind = 'POST'
    """,
    "terminal_image_with_open_hold": """
        DELETE FROM transfers WHERE tenant_id = %s AND kind = 'VOID'
    """,
    "live_image_without_open_hold": """
        UPDATE images SET hold_transfer_id = NULL WHERE tenant_id = %s AND state = 'QUEUED'
    """,
    "job_counters_differ": """
        UPDATE jobs SET queued_count = 0, running_count = 1
        WHERE tenant_id = %s AND queued_count = 1
    """,
    "account_counters_differ": """
        UPDATE accounts SET credits_posted = credits_posted + 1
        WHERE tenant_id = %s AND kind = 'REVENUE'
    """,
    "debits_differ_from_credits": """
        UPDATE accounts SET debits_pending = debits_pending + 1
        WHERE tenant_id = %s AND kind = 'WALLET'
    """,
    "guarded_account_overdrawn": """
        UPDATE accounts SET credits_posted = 0 WHERE tenant_id = %s AND kind = 'WALLET'
    """,
    "capture_above_hold": """
        UPDATE transfers SET amount_nanos = 1e12 WHERE tenant_id = %s AND kind = 'POST'
    """,
    "usage_differs_from_captures": """
        UPDATE usage_records SET price_nanos = price_nanos + 1
        WHERE tenant_id = %s AND outcome = 'SUCCEEDED'
    """,
    "usage_lines_differ_from_price": """
        DELETE FROM usage_lines WHERE tenant_id = %s AND line_number = 1
    """,
    "budget_counters_differ": """
        UPDATE budget_periods SET held_nanos = held_nanos + 1 WHERE tenant_id = %s
    """,
    "guarded_budget_over": """
        UPDATE budget_periods SET limit_nanos = 0 WHERE tenant_id = %s
    """,
    "period_quantities_differ": """
        UPDATE period_quantities SET quantity = quantity + 1
        WHERE tenant_id = %s AND component = 'PER_KWH'
    """,
    "lots_differ_from_wallet": """
        UPDATE credit_lots SET expired_nanos = 1, expire_time = now() WHERE tenant_id = %s
    """,
    "lot_counters_differ": """
        UPDATE lot_consumptions SET amount_nanos = amount_nanos + 1 WHERE tenant_id = %s
    """,
    "transfer_on_no_list": """
        DELETE FROM unsealed_transfers
        WHERE tenant_id = %s AND transfer_id IN (SELECT max(transfer_id) FROM unsealed_transfers)
    """,
    "usage_on_no_list": """
        DELETE FROM uninvoiced_usage WHERE tenant_id = %s
    """,
    "invoice_lines_differ_from_total": """
        UPDATE invoices SET total_nanos = total_nanos + 1 WHERE tenant_id = %s
    """,
    "invoice_differs_from_ledger": """
        DELETE FROM invoice_transfers AS noted USING transfers AS tax
        WHERE noted.tenant_id = %s AND tax.transfer_id = noted.transfer_id AND tax.reason = 'TAX'
    """,
    "credit_notes_above_total": """
        INSERT INTO credit_notes VALUES (%s, 1, '2026-10', 'EUR', 10000000, 0, 0, 'x', now())
    """,
}


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """One image that was charged and invoiced, one that failed, one that waits."""
    shop = await open_shop(connection, become, tenant_id="acme-of-invariants")
    await shop.set_budget()
    await shop.open_since(datetime(2026, 1, 1, tzinfo=UTC))
    await shop.move_charges(await shop.sell(), datetime(2026, 10, 10, tzinfo=UTC))
    await shop.finalize("2026-10", now=datetime(2026, 11, 10, tzinfo=UTC))
    await shop.fail()
    await shop.accept()
    return shop


async def violations(shop: Shop) -> dict[str, int]:
    # Of this tenant alone, as before its invoices: whatever other tests left in the database.
    await shop.as_role("atelier_operator")
    counts = await check_invariants(shop.connection, tenant_id=shop.tenant_id)
    return {name: count for name, count in counts.items() if count}


async def test_nothing_is_violated_by_a_day_of_business(shop: Shop) -> None:
    assert await violations(shop) == {}


async def test_an_image_charged_above_its_hold_violates_nothing(shop: Shop) -> None:
    # It is capped; what exceeds it is the operator's write-off.
    await shop.draw(await shop.claim(), gpu_seconds=1000.0)

    assert await violations(shop) == {}


async def test_what_is_wrong_with_one_tenant_stops_no_other_ones_invoice(
    shop: Shop, connection: AsyncConnection, become: Become
) -> None:
    other = await open_shop(connection, become, tenant_id="zeta-of-invariants")
    await other.open_since(datetime(2026, 1, 1, tzinfo=UTC))
    await other.move_charges(await other.sell(), datetime(2026, 10, 10, tzinfo=UTC))
    await shop.without_guards("ALTER TABLE accounts DROP CONSTRAINT balance_guard")
    for name in ("account_counters_differ", "guarded_account_overdrawn", "lot_counters_differ"):
        await shop.without_guards(HARM[name], shop.tenant_id)

    sent = await other.finalize("2026-10", now=datetime(2026, 11, 10, tzinfo=UTC))

    assert sent.invoice_number == 1
    assert (await violations(shop)).keys() >= {"account_counters_differ", "lot_counters_differ"}


@pytest.mark.parametrize("name", HARM)
async def test_an_invariant_tells_of_its_violation(shop: Shop, name: str) -> None:
    # The guards of the tables come first; here they are taken away to see what remains.
    await shop.without_guards("DROP INDEX transfers_resolve_once")
    await shop.without_guards("ALTER TABLE accounts DROP CONSTRAINT balance_guard")
    await shop.without_guards("ALTER TABLE budget_periods DROP CONSTRAINT budget_guard")
    await shop.without_guards(HARM[name], shop.tenant_id)

    assert (await violations(shop)).get(name) == 1


async def violations_since(shop: Shop, since: datetime) -> dict[str, int]:
    await shop.as_role("atelier_gateway")
    counts = await check_changed(shop.connection, since=since)
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("name", sorted(HARM.keys() - WHOLE_ONLY))
async def test_what_changed_tells_of_its_violation(shop: Shop, name: str) -> None:
    # As late as its invoice.
    start_time = datetime(2026, 11, 10, tzinfo=UTC)
    await shop.without_guards("DROP INDEX transfers_resolve_once")
    await shop.without_guards("ALTER TABLE accounts DROP CONSTRAINT balance_guard")
    await shop.without_guards("ALTER TABLE budget_periods DROP CONSTRAINT budget_guard")
    await shop.without_guards(HARM[name], shop.tenant_id)

    assert (await violations_since(shop, start_time)).get(name) == 1


@pytest.mark.parametrize(
    "name", ["succeeded_not_billed", "usage_lines_differ_from_price", "transfer_on_no_list"]
)
async def test_what_did_not_change_is_left_to_the_night(shop: Shop, name: str) -> None:
    await shop.without_guards(HARM[name], shop.tenant_id)
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    assert await violations_since(shop, tomorrow) == {}
    assert (await violations(shop)).get(name) == 1


async def test_a_change_without_harm_violates_nothing(shop: Shop) -> None:
    assert await violations_since(shop, datetime(2001, 1, 1, tzinfo=UTC)) == {}


async def test_the_housekeeper_may_check_what_changed(shop: Shop) -> None:
    await shop.become(shop.connection, "atelier_housekeeper")

    counts = await check_changed(shop.connection, since=datetime.now(UTC))

    assert counts.keys() == HARM.keys() - WHOLE_ONLY


async def test_the_housekeeper_may_check_all_and_each_has_a_harm_above(shop: Shop) -> None:
    await shop.become(shop.connection, "atelier_housekeeper")

    assert list(await check_invariants(shop.connection)) == list(HARM)
