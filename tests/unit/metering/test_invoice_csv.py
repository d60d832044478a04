"""The CSV of an invoice: exact text, the PDF's totals, and nothing a spreadsheet would run."""

import csv
import io
from decimal import Decimal

from metering.invoice_csv import render_invoice_csv
from metering.invoice_document import Invoice
from tests.unit.metering.sample_invoices import (
    empty_invoice,
    finalized_invoice,
    hostile_invoice,
    sample_invoice,
)


def rows_of(invoice: Invoice) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render_invoice_csv(invoice).decode(), newline="")))


def test_the_billed_costs_add_up_to_the_total_exactly() -> None:
    invoice = sample_invoice()

    total = sum(Decimal(row["billed_cost"]) for row in rows_of(invoice))

    assert total == Decimal(invoice.total_nanos) / 10**9 == Decimal("16.35")


def test_a_line_is_written_in_exact_decimals() -> None:
    row = rows_of(sample_invoice())[3]

    assert row["description"] == "Denoising"
    assert row["component"] == "PER_MEGAPIXEL_STEP"
    assert row["consumed_quantity"] == "36406.55872"
    assert row["list_unit_price"] == "0.0001666665"
    assert row["billed_cost"] == "6.067755712"
    assert row["billing_currency"] == "EUR"


def test_tax_and_rounding_are_lines_like_any_other() -> None:
    rows = rows_of(sample_invoice())

    assert [(row["line_kind"], row["billed_cost"]) for row in rows[-2:]] == [
        ("TAX", "2.610961587"),
        ("ROUNDING", "-0.002864676"),
    ]


def test_a_finalized_invoice_carries_its_number() -> None:
    assert {row["invoice_number"] for row in rows_of(finalized_invoice())} == {"17"}


def test_an_empty_invoice_is_a_header() -> None:
    assert rows_of(empty_invoice()) == []
    assert render_invoice_csv(empty_invoice()).startswith(b"invoice_id,invoice_number,")


def test_no_text_begins_like_a_formula() -> None:
    rows = rows_of(hostile_invoice())

    assert {row["description"][0] for row in rows} == {"'"}
    assert {row["model"][0] for row in rows} == {"'"}
