"""The machine with what the operator does in between: months finalized, paid, corrected.

All that is charged bears the one time of the machine's transaction. Its month is finalized as if
end and grace were over; what is charged afterwards comes late for it and must be on the next
invoice, whole, while those that were sent stay as they were.
"""

from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, rule

from metering import ledger_reading
from metering.errors import InvoiceAmountError, InvoiceStateError
from metering.invoice_document import Invoice, InvoiceState, Party
from metering.invoice_drafts import Issuer
from metering.invoice_finalization import finalize_invoice
from metering.invoice_settlement import create_credit_note, record_payment
from metering.invoice_store import get_stored
from metering.periods import BillingPeriod
from tenants.tenant_store import lock_tenant
from tests.integration.services.jobs.images_machine import ACME, ImagesMachine

T = TypeVar("T")
GRACE = timedelta(days=1)
ISSUER = Issuer(seller=Party(legal_name="Nordlicht GmbH", postal_address="Hamburg", vat_id="DE1"))
CENT_NANOS = 10_000_000


class InvoicesMachine(ImagesMachine):
    """Everything `ImagesMachine` does, and the operator's months."""

    months = Bundle("months")

    def __init__(self) -> None:
        super().__init__()
        self.next_month = BillingPeriod.containing(datetime.now(UTC), time_zone="UTC")
        self.sent: dict[str, Invoice] = {}
        self.left_nanos: dict[str, int] = {}
        self.paid: set[str] = set()
        self.invoiced_nanos = 0

    def operate(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something as the operator, whole or not at all."""
        self.become("atelier_operator")

        async def whole() -> T:
            async with self.conn.transaction():
                return await work

        return self.run(whole())

    @rule(target=months)
    def finalize(self) -> str:
        """The next month takes all that was charged and is on no invoice yet, late or not."""
        month = self.next_month

        invoice = self.operate(self._finalize(month))

        assert invoice.invoice_number == len(self.sent) + 1
        assert invoice.subtotal_nanos == self.charged_nanos - self.invoiced_nanos
        assert sum(line.billed_cost_nanos for line in invoice.lines) == invoice.total_nanos
        assert invoice.total_nanos % CENT_NANOS == 0
        self.sent[month.invoice_id] = invoice
        self.left_nanos[month.invoice_id] = invoice.total_nanos
        self.invoiced_nanos = self.charged_nanos
        self.next_month = month.following
        return month.invoice_id

    @rule(invoice_id=months)
    def finalize_again(self, invoice_id: str) -> None:
        month = BillingPeriod.parse(invoice_id, time_zone="UTC")
        with pytest.raises(InvoiceStateError):
            self.operate(self._finalize(month))

    async def _finalize(self, month: BillingPeriod) -> Invoice:
        tenant = await lock_tenant(self.conn, ACME)
        assert tenant is not None
        return await finalize_invoice(
            self.conn,
            tenant,
            invoice_id=month.invoice_id,
            issuer=ISSUER,
            grace=GRACE,
            now=month.end_time + GRACE,
        )

    @rule(invoice_id=months, cents_off=st.sampled_from([0, 0, 1]))
    def pay(self, invoice_id: str, cents_off: int) -> None:
        """All that is left of it, once; nothing else is taken."""
        amount_nanos = self.left_nanos[invoice_id] + cents_off * CENT_NANOS
        payment = record_payment(
            self.conn,
            tenant_id=ACME,
            invoice_id=invoice_id,
            amount_nanos=amount_nanos,
            payment_time=datetime.now(UTC),
            reference="bank",
        )
        if invoice_id in self.paid:
            with pytest.raises(InvoiceStateError):
                self.operate(payment)
        elif cents_off:
            with pytest.raises(InvoiceAmountError):
                self.operate(payment)
        else:
            assert self.operate(payment).state is InvoiceState.PAID
            self.paid.add(invoice_id)

    @rule(invoice_id=months, cents=st.integers(1, 4))
    def credit_note(self, invoice_id: str, cents: int) -> None:
        """As much as is left of the invoice; what is not paid yet frees the wallet."""
        amount_nanos = cents * CENT_NANOS
        available_nanos = self._available_nanos()
        note = create_credit_note(
            self.conn,
            tenant_id=ACME,
            invoice_id=invoice_id,
            amount_nanos=amount_nanos,
            reason="blurred",
            now=datetime.now(UTC),
        )
        if amount_nanos > self.left_nanos[invoice_id]:
            with pytest.raises(InvoiceAmountError):
                self.operate(note)
            return
        assert self.operate(note).amount_nanos == amount_nanos
        self.left_nanos[invoice_id] -= amount_nanos
        freed_nanos = self._available_nanos() - available_nanos
        assert 0 <= freed_nanos <= (0 if invoice_id in self.paid else amount_nanos)

    @invariant()
    def what_was_sent_stays(self) -> None:
        self.become("atelier_operator")
        for invoice_id, sent in self.sent.items():
            stored = self.run(get_stored(self.conn, tenant_id=ACME, invoice_id=invoice_id))
            assert stored is not None
            assert (stored.lines, stored.total_nanos) == (sent.lines, sent.total_nanos)
            credited_nanos = sum(note.amount_nanos for note in stored.credit_notes)
            assert credited_nanos == sent.total_nanos - self.left_nanos[invoice_id]
            assert (stored.state is InvoiceState.PAID) == (invoice_id in self.paid)

    def _available_nanos(self) -> int:
        balance = self.run(ledger_reading.get_balance(self.conn, tenant_id=ACME, currency="EUR"))
        assert balance is not None
        return balance.available_nanos
