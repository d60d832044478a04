"""How an invoice is worded: dates, exact amounts, and where energy comes from."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from metering.invoice_document import InvoiceState
from metering.invoice_page import Amount
from metering.invoice_wording import to_page
from tests.unit.metering.sample_invoices import finalized_invoice, sample_invoice


def test_a_draft_says_so_and_from_when_it_is() -> None:
    page = to_page(sample_invoice())

    assert page.title == "Draft invoice"
    assert page.state == "Draft, month to date"
    assert (page.issued_label, page.issued) == ("As of", "24 November 2026, 14:10")
    assert page.period == "1 – 30 November 2026"


def test_a_finalized_invoice_has_a_number() -> None:
    page = to_page(finalized_invoice())

    assert page.title == "Invoice"
    assert page.number == "acme-000017"
    assert page.issued_label == "Issued"


def test_a_void_invoice_says_so() -> None:
    page = to_page(replace(finalized_invoice(), state=InvoiceState.VOID))

    assert page.state == "Void"
    assert page.is_void


def test_a_period_in_which_clocks_change_still_ends_on_its_last_day() -> None:
    invoice = replace(
        sample_invoice(),
        billing_period_start=datetime(2026, 9, 30, 22, tzinfo=UTC),
        billing_period_end=datetime(2026, 10, 31, 23, tzinfo=UTC),
    )

    assert to_page(invoice).period == "1 – 31 October 2026"


def test_amounts_are_exact_and_tell_what_can_be_paid() -> None:
    page = to_page(sample_invoice())

    assert page.subtotal == Amount(payable="13.74", beyond="1903089")
    assert [(part.description, part.amount) for part in page.sums] == [
        ("VAT 19 %", Amount(payable="2.61", beyond="0961587")),
        ("Rounding", Amount(payable="−0.00", beyond="2864676")),
    ]
    assert page.total == "16.35"


@pytest.mark.parametrize(
    ("nanos", "payable", "beyond"),
    [
        (1_234_567_500_000_000, "1,234,567", ".5"),
        (-1_500_000_000, "−1", ".5"),
        (2_000_000_000, "2", ""),
    ],
)
def test_a_currency_without_minor_unit_shows_its_decimals_behind_the_point(
    nanos: int, payable: str, beyond: str
) -> None:
    page = to_page(replace(sample_invoice(), currency="JPY", subtotal_nanos=nanos))

    assert page.subtotal == Amount(payable=payable, beyond=beyond)


def test_lines_are_grouped_by_model_and_tier() -> None:
    page = to_page(sample_invoice())

    assert [(group.model, group.tier, len(group.lines)) for group in page.groups] == [
        ("sd35-large", "interactive", 2),
        ("sd35-medium", "batch", 4),
    ]
    denoising = page.groups[1].lines[1]
    assert (denoising.quantity, denoising.unit) == ("36,406.55872", "megapixel-steps")
    assert denoising.unit_price == "0.0001666665"


def test_energy_names_its_source_and_an_estimate_is_called_one() -> None:
    page = to_page(sample_invoice())

    assert [(part.model, part.kilowatt_hours, part.source) for part in page.energy] == [
        ("sd35-large", "0.170000", "estimated, not measured"),
        ("sd35-medium", "1.205556", "measured, the GPU’s energy counter"),
    ]
    assert [part.is_measured for part in page.energy] == [False, True]
