"""An invoice's lines as comma-separated values for programs: exact decimals, the same totals."""

import csv
import io
from dataclasses import asdict, dataclass, fields
from typing import Final

from metering.invoice_document import Invoice, InvoiceLine
from metering.money import decimal_text, exact_text, minor_digits

# What a spreadsheet would take for the beginning of a formula.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One line; its members are the columns, in this order."""

    invoice_id: str
    invoice_number: str
    invoice_state: str
    tenant_id: str
    billing_period_start: str
    billing_period_end: str
    line_number: str
    line_kind: str
    description: str
    component: str
    model: str
    tier: str
    image_count: str
    price_id: str
    consumed_quantity: str
    consumed_unit: str
    list_unit_price: str
    billed_cost: str
    billing_currency: str


def render_invoice_csv(invoice: Invoice) -> bytes:
    """Write one row for each line, in UTF-8; the sum of ``billed_cost`` is the invoice's total.

    Amounts are units of the currency, in full: no float is meant to hold them. An invoice without
    lines is its header alone.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=[field.name for field in fields(_Row)])
    writer.writeheader()
    for number, line in enumerate(invoice.lines, start=1):
        writer.writerow(asdict(_row(invoice, line, number)))
    return text.getvalue().encode()


def _row(invoice: Invoice, line: InvoiceLine, number: int) -> _Row:
    unit_price = line.list_unit_price_nanos
    return _Row(
        invoice_id=invoice.invoice_id,
        invoice_number="" if invoice.invoice_number is None else str(invoice.invoice_number),
        invoice_state=invoice.state,
        tenant_id=invoice.tenant_id,
        billing_period_start=invoice.billing_period_start.isoformat(),
        billing_period_end=invoice.billing_period_end.isoformat(),
        line_number=str(number),
        line_kind=line.kind,
        description=_text(line.description),
        component=line.component or "",
        model=_text(line.model),
        tier=line.tier or "",
        image_count=str(line.image_count) if line.component else "",
        price_id=line.price_id or "",
        consumed_quantity=(
            "" if line.consumed_quantity is None else exact_text(line.consumed_quantity)
        ),
        consumed_unit=line.consumed_unit,
        list_unit_price="" if unit_price is None else decimal_text(unit_price),
        billed_cost=decimal_text(line.billed_cost_nanos, places_min=minor_digits(invoice.currency)),
        billing_currency=invoice.currency,
    )


def _text(words: str) -> str:
    """Keep a spreadsheet from running words that look like a formula."""
    return f"'{words}" if words.startswith(_FORMULA_STARTS) else words
