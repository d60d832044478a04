"""An invoice's lines as comma-separated values for programs: exact decimals, the same totals."""

import csv
import io
from dataclasses import asdict, dataclass, fields
from typing import Final

from metering.invoice_document import Invoice, InvoiceLine
from metering.money import decimal_text, exact_text, minor_digits
from metering.table_files import safe_text


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceCsvRow:
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


INVOICE_CSV_COLUMNS: Final = tuple(field.name for field in fields(InvoiceCsvRow))


def render_invoice_csv(invoice: Invoice) -> bytes:
    """Write one row for each line, in UTF-8; the sum of ``billed_cost`` is the invoice's total.

    Amounts are units of the currency, in full: no float is meant to hold them. An invoice without
    lines is its header alone.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=INVOICE_CSV_COLUMNS)
    writer.writeheader()
    writer.writerows(asdict(row) for row in invoice_csv_rows(invoice))
    return text.getvalue().encode()


def invoice_csv_rows(invoice: Invoice) -> list[InvoiceCsvRow]:
    """Write the lines as text, cell by cell."""
    return [_row(invoice, line, number) for number, line in enumerate(invoice.lines, start=1)]


def _row(invoice: Invoice, line: InvoiceLine, number: int) -> InvoiceCsvRow:
    unit_price = line.list_unit_price_nanos
    return InvoiceCsvRow(
        invoice_id=invoice.invoice_id,
        invoice_number="" if invoice.invoice_number is None else str(invoice.invoice_number),
        invoice_state=invoice.state,
        tenant_id=invoice.tenant_id,
        billing_period_start=invoice.billing_period_start.isoformat(),
        billing_period_end=invoice.billing_period_end.isoformat(),
        line_number=str(number),
        line_kind=line.kind,
        description=safe_text(line.description),
        component=line.component or "",
        model=safe_text(line.model),
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
