"""The PDF of an invoice: it is set for every kind of invoice, and no text in it is ever run."""

import json
from dataclasses import replace

import pytest

from metering.invoice_document import Invoice, Party
from metering.invoice_pdf import render_invoice_pdf
from tests.unit.metering.sample_invoices import (
    empty_invoice,
    finalized_invoice,
    hostile_invoice,
    sample_invoice,
)


@pytest.mark.parametrize(
    "invoice",
    [sample_invoice(), finalized_invoice(), empty_invoice()],
    ids=["draft", "finalized", "empty"],
)
def test_every_invoice_is_a_pdf_with_fonts_inside(invoice: Invoice) -> None:
    pdf = render_invoice_pdf(invoice)

    assert pdf.startswith(b"%PDF-")
    assert b"LibertinusSerif" in pdf


def test_the_same_invoice_gives_the_same_bytes() -> None:
    assert render_invoice_pdf(sample_invoice()) == render_invoice_pdf(sample_invoice())


def test_markup_in_a_name_is_text_and_not_run() -> None:
    # "#panic" would stop typst, an unbalanced bracket too.
    assert render_invoice_pdf(hostile_invoice()).startswith(b"%PDF-")


@pytest.mark.parametrize("name", ['#include "/etc/hostname"', "]]]", "\\", json.dumps({"a": 1})])
def test_a_name_that_could_break_the_template_does_not(name: str) -> None:
    party = Party(legal_name=name, postal_address=name, vat_id=name)

    assert render_invoice_pdf(replace(sample_invoice(), buyer=party)).startswith(b"%PDF-")
