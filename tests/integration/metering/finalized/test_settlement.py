"""A finalized invoice is paid, void or corrected, and the ledger says so."""

import pytest

from metering.errors import (
    InvoiceAmountError,
    InvoiceNotFoundError,
    InvoiceStateError,
)
from metering.invoice_document import InvoiceState
from tests.integration.metering.finalized.office import (
    NOW,
    OCTOBER,
    SEPTEMBER,
    balances,
    credit,
    finalize,
    pay,
    read,
    sell_in,
    violated,
    void,
)
from tests.integration.metering.shop import Shop


async def test_a_payment_fills_the_wallet_up_to_zero_and_leaves_nothing_owed(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    sent = await finalize(shop)

    paid = await pay(shop, sent.total_nanos)

    assert (paid.state, paid.due_nanos, paid.settle_note) == (InvoiceState.PAID, 0, "bank 4711")
    assert paid.settle_time == NOW
    assert await balances(shop) == {
        # Three of credit and what was paid.
        "FUNDING": 4_410_000_000,
        "REVENUE": -3_703_703_673,
        "TAX": -703_703_698,
        "ROUNDING": -2_592_629,
    }
    assert await violated(shop) == []


async def test_only_what_is_due_can_be_paid_and_only_once(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    sent = await finalize(shop)

    with pytest.raises(InvoiceAmountError) as wrong:
        await pay(shop, sent.total_nanos - 1)
    await pay(shop, sent.total_nanos)
    with pytest.raises(InvoiceStateError, match="PAID"):
        await pay(shop, sent.total_nanos)
    with pytest.raises(InvoiceStateError, match="PAID"):
        await void(shop)

    assert wrong.value.due_nanos == 1_410_000_000


async def test_a_void_invoice_keeps_its_number_and_gives_everything_back(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    await finalize(shop)

    voided = await void(shop)

    assert (voided.state, voided.invoice_number, voided.due_nanos) == (InvoiceState.VOID, 1, 0)
    assert voided.settle_note == "wrong price"
    assert await balances(shop) == {"FUNDING": 3_000_000_000, "WALLET": -3_000_000_000}
    assert await violated(shop) == []


async def test_credit_that_a_void_invoice_had_used_is_used_by_the_next_one(shop: Shop) -> None:
    await sell_in(shop, SEPTEMBER, images=3)
    await finalize(shop, "2026-09")
    await void(shop, "2026-09")
    await sell_in(shop, OCTOBER, images=2)

    sent = await finalize(shop, "2026-10")

    assert sent.invoice_number == 2
    assert sent.credit_applied_nanos == 2 * 1_234_567_891


async def test_credit_is_used_up_once(shop: Shop) -> None:
    await sell_in(shop, SEPTEMBER, images=2)
    await finalize(shop, "2026-09")
    await sell_in(shop, OCTOBER, images=2)

    sent = await finalize(shop, "2026-10")

    assert sent.credit_applied_nanos == 3_000_000_000 - 2 * 1_234_567_891


async def test_a_credit_note_lessens_what_is_due(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    await finalize(shop)

    numbers = [await credit(shop, 200_000_000), await credit(shop, 10_000_000)]
    corrected = await read(shop)
    paid = await pay(shop, 1_200_000_000)

    assert numbers == [1, 2]
    assert corrected.due_nanos == 1_200_000_000
    # 19/119 of it, as on the invoice.
    assert [note.tax_nanos for note in corrected.credit_notes] == [31_932_773, 1_596_639]
    assert paid.state is InvoiceState.PAID
    assert (await balances(shop)).keys() == {"FUNDING", "REVENUE", "TAX", "ROUNDING"}
    assert await violated(shop) == []


async def test_a_credit_note_after_the_payment_is_money_to_send_back(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    sent = await finalize(shop)
    await pay(shop, sent.total_nanos)

    await credit(shop, 1_190_000_000)

    after = await balances(shop)
    assert after["FUNDING"] == 4_410_000_000 - 1_190_000_000
    assert after["TAX"] == -703_703_698 + 190_000_000
    assert "WALLET" not in after
    assert await violated(shop) == []


async def test_no_more_is_credited_than_the_invoice_has_left(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    await finalize(shop)
    await credit(shop, 1_400_000_000)

    with pytest.raises(InvoiceAmountError) as raised:
        await credit(shop, 10_000_001)

    assert raised.value.due_nanos == 10_000_000


async def test_an_invoice_with_a_credit_note_is_not_voided_and_a_void_one_not_credited(
    shop: Shop,
) -> None:
    await sell_in(shop, SEPTEMBER, images=3)
    await finalize(shop, "2026-09")
    await credit(shop, 1, "2026-09")
    await sell_in(shop, OCTOBER)
    await finalize(shop, "2026-10")
    await void(shop, "2026-10")

    with pytest.raises(InvoiceStateError, match="CREDITED"):
        await void(shop, "2026-09")
    with pytest.raises(InvoiceStateError, match="VOID"):
        await credit(shop, 1, "2026-10")


async def test_what_is_not_finalized_is_not_paid_voided_or_credited(shop: Shop) -> None:
    await sell_in(shop, OCTOBER)

    with pytest.raises(InvoiceNotFoundError):
        await pay(shop, 1)
    with pytest.raises(InvoiceNotFoundError):
        await void(shop)
    with pytest.raises(InvoiceNotFoundError):
        await credit(shop, 1)
