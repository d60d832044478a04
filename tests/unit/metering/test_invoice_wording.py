"""How an invoice is worded: dates, exact amounts, and where energy comes from."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from metering.energy_source import EnergySource
from metering.invoice_document import InvoiceState
from metering.invoice_page import Amount
from metering.invoice_wording import to_page
from tests.unit.metering.sample_invoices import (
    finalized_invoice,
    invoice_of_every_line,
    sample_invoice,
)


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


def test_late_usage_and_the_months_end_are_groups_of_their_own() -> None:
    page = to_page(invoice_of_every_line())

    assert [(group.model, group.tier, group.period) for group in page.groups] == [
        ("sd35-large", "interactive", ""),
        ("sd35-medium", "batch", ""),
        ("sd35-medium", "batch", "October 2026"),
        ("Settled at the month’s end", "", ""),
    ]
    assert [(line.description, line.unit) for line in page.groups[-1].lines] == [
        ("Partner discount 5 %", ""),
        ("Up to the month’s minimum", ""),
    ]
    assert [part.description for part in page.sums] == ["VAT 19 %", "Prepaid credit"]


def test_a_correction_lessens_what_is_due_and_the_reader_is_told_what_to_pay() -> None:
    page = to_page(invoice_of_every_line())

    assert (page.total, page.due) == ("18.80", "17.61")
    assert [(note.number, note.amount.payable) for note in page.notes] == [
        ("acme-C000003", "−1.19")
    ]
    assert page.settlement == "Please pay 17.61 EUR and name the invoice’s number, acme-000017."


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (InvoiceState.PAID, "Paid on 9 December 2026, 11:00, reference bank 4711. Thank you."),
        (
            InvoiceState.VOID,
            "Void since 9 December 2026, 11:00: bank 4711. Nothing is owed for it.",
        ),
    ],
)
def test_the_reader_is_told_what_became_of_it(state: InvoiceState, sentence: str) -> None:
    invoice = replace(
        finalized_invoice(),
        state=state,
        settle_time=datetime(2026, 12, 9, 10, tzinfo=UTC),
        settle_note="bank 4711",
    )

    page = to_page(invoice)

    assert (page.settlement, page.due) == (sentence, "0.00")


def test_an_invoice_that_credit_has_paid_asks_for_nothing() -> None:
    page = to_page(replace(finalized_invoice(), total_nanos=0))

    assert (page.state, page.settlement) == ("Nothing to pay", "Nothing is left to pay.")


def test_carbon_is_energy_times_building_times_grid_and_names_its_factors() -> None:
    page = to_page(sample_invoice())

    # 1.205556 kWh × 1.25 × 344 g/kWh.
    assert [part.carbon for part in page.energy] == ["73.100 g", "518.389 g"]
    assert (page.energy_total, page.carbon_total) == ("1.375556", "591.489 g")
    assert page.factors == (
        "CO₂e = energy × PUE 1.25 × 344 g/kWh (own meter of 2025; grid average of Germany)",
    )


@pytest.mark.parametrize(
    ("source", "error_millijoules", "interval"),
    [
        # 1.96 × 1.21 kJ = 2,371.6 J.
        (EnergySource.NVML_COUNTER, 1_210_000, "± 0.000659"),
        (EnergySource.NVML_COUNTER, 1, "± 0.000001"),
        (EnergySource.NVML_COUNTER, 0, ""),
        (EnergySource.ESTIMATED, 1_210_000, ""),
    ],
)
def test_a_reading_has_an_interval_never_of_zero_and_an_estimate_has_none(
    source: EnergySource, error_millijoules: int, interval: str
) -> None:
    sample = sample_invoice()
    part = replace(
        sample.energy[0], energy_source=source, energy_error_millijoules=error_millijoules
    )

    page = to_page(replace(sample, energy=(part,)))

    assert [printed.interval for printed in page.energy] == [interval]


def test_without_factors_nothing_is_said_about_carbon() -> None:
    bare = tuple(replace(part, factors=None) for part in sample_invoice().energy)

    page = to_page(replace(sample_invoice(), energy=bare))

    assert [part.carbon for part in page.energy] == ["", ""]
    assert (page.carbon_total, page.factors) == ("", ())


def test_the_chart_has_every_day_from_the_first_to_the_last() -> None:
    page = to_page(sample_invoice())

    assert [day.label for day in page.days] == [str(number) for number in range(2, 25)]
    # Nothing was drawn on the 8th.
    assert page.days[6].share == 0.0
    assert [day.count for day in page.days if day.is_greatest] == ["156"]


def test_what_did_not_come_is_told_with_its_reason() -> None:
    page = to_page(sample_invoice())

    assert [(failure.count, failure.reason) for failure in page.failures] == [
        ("2 images", "failed: out of memory"),
        ("1 image", "cancelled"),
    ]


def test_energy_names_its_source_and_an_estimate_is_called_one() -> None:
    page = to_page(sample_invoice())

    assert [(part.model, part.kilowatt_hours, part.source) for part in page.energy] == [
        ("sd35-large", "0.170000", "estimated"),
        ("sd35-medium", "1.205556", "measured, GPU’s counter"),
    ]
    assert [part.is_measured for part in page.energy] == [False, True]
