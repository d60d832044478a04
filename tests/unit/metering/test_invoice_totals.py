"""Invoices add up: usage, tax and rounding to the minor unit, to the last nano."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.errors import CurrencyMixError
from metering.invoice_document import InvoiceLine, LineKind
from metering.invoice_period_end import UsageLineSum
from metering.invoice_totals import total_invoice
from metering.money import minor_digits
from metering.price_document import Component, PriceComponent, PriceDocument, TaxRate, Tier
from tenants.ids import PriceId

VAT = TaxRate(display_name="VAT 19 %", rate_millionths=190_000)


def price(*taxes: TaxRate, currency: str = "EUR") -> PriceDocument:
    return PriceDocument(
        currency=currency,
        components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=1),),
        tax_rates=taxes,
    )


def usage(
    *,
    price_id: str = "p1",
    image_count: int = 3,
    unit_price_nanos: int | None = 4_000_000,
    billed_cost_nanos: int = 12_000_000,
    component: Component = Component.PER_IMAGE,
    tier: Tier = Tier.BATCH,
    model: str = "sd35-medium",
) -> UsageLineSum:
    return UsageLineSum(
        component=component,
        model=model,
        tier=tier,
        consumed_unit="image",
        list_unit_price_nanos=None if unit_price_nanos is None else Decimal(unit_price_nanos),
        price_id=PriceId(price_id),
        image_count=image_count,
        consumed_quantity=Decimal(image_count),
        billed_cost_nanos=billed_cost_nanos,
    )


def test_an_invoice_has_usage_tax_and_rounding_and_ends_at_the_minor_unit() -> None:
    totals = total_invoice([usage()], {PriceId("p1"): price(VAT)}, currency="EUR")

    assert totals.lines == (
        InvoiceLine(
            kind=LineKind.USAGE,
            description="Images",
            billed_cost_nanos=12_000_000,
            component=Component.PER_IMAGE,
            model="sd35-medium",
            tier=Tier.BATCH,
            image_count=3,
            price_id=PriceId("p1"),
            consumed_quantity=Decimal(3),
            consumed_unit="image",
            list_unit_price_nanos=Decimal(4_000_000),
        ),
        InvoiceLine(kind=LineKind.TAX, description="VAT 19 %", billed_cost_nanos=2_280_000),
        InvoiceLine(kind=LineKind.ROUNDING, description="Rounding", billed_cost_nanos=-4_280_000),
    )
    assert totals.subtotal_nanos == 12_000_000
    assert totals.tax_nanos == 2_280_000
    assert totals.rounding_nanos == -4_280_000
    assert totals.total_nanos == 10_000_000


def test_price_versions_with_the_same_unit_price_share_a_line() -> None:
    totals = total_invoice(
        [usage(price_id="p1"), usage(price_id="p2")],
        {PriceId("p1"): price(), PriceId("p2"): price()},
        currency="EUR",
    )

    (line,) = [line for line in totals.lines if line.kind is LineKind.USAGE]
    assert line.image_count == 6
    assert line.billed_cost_nanos == 24_000_000
    assert line.price_id is None


def test_another_unit_price_tier_model_or_component_is_a_line_of_its_own() -> None:
    totals = total_invoice(
        [
            usage(),
            usage(unit_price_nanos=5_000_000),
            usage(tier=Tier.INTERACTIVE),
            usage(model="sd35-large"),
            usage(component=Component.CAP, unit_price_nanos=None),
        ],
        {PriceId("p1"): price()},
        currency="EUR",
    )

    lines = [line for line in totals.lines if line.kind is LineKind.USAGE]
    assert [(line.model, line.tier, line.component) for line in lines] == [
        ("sd35-large", Tier.BATCH, Component.PER_IMAGE),
        ("sd35-medium", Tier.BATCH, Component.PER_IMAGE),
        ("sd35-medium", Tier.BATCH, Component.PER_IMAGE),
        ("sd35-medium", Tier.BATCH, Component.CAP),
        ("sd35-medium", Tier.INTERACTIVE, Component.PER_IMAGE),
    ]


def test_usage_is_taxed_by_the_price_it_was_charged_under() -> None:
    reduced = TaxRate(display_name="VAT 7 %", rate_millionths=70_000)
    totals = total_invoice(
        [usage(price_id="p1"), usage(price_id="p2")],
        {PriceId("p1"): price(VAT), PriceId("p2"): price(reduced)},
        currency="EUR",
    )

    taxes = [line for line in totals.lines if line.kind is LineKind.TAX]
    assert [(line.description, line.billed_cost_nanos) for line in taxes] == [
        ("VAT 19 %", 2_280_000),
        ("VAT 7 %", 840_000),
    ]


def test_an_empty_period_costs_nothing() -> None:
    totals = total_invoice([], {}, currency="EUR")

    assert totals.lines == ()
    assert totals.total_nanos == 0


def test_a_price_in_another_currency_is_refused() -> None:
    with pytest.raises(CurrencyMixError):
        total_invoice([usage()], {PriceId("p1"): price(currency="USD")}, currency="EUR")


@given(
    costs=st.lists(st.integers(-(10**9), 10**13), max_size=6),
    rates=st.lists(st.integers(0, 10**6), max_size=2, unique=True),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_the_lines_of_every_invoice_add_up_to_its_total(
    costs: list[int], rates: list[int], currency: str
) -> None:
    taxes = [TaxRate(display_name=f"tax {rate}", rate_millionths=rate) for rate in rates]
    sums = [
        usage(billed_cost_nanos=cost, unit_price_nanos=number) for number, cost in enumerate(costs)
    ]

    totals = total_invoice(
        sums, {PriceId("p1"): price(*taxes, currency=currency)}, currency=currency
    )

    gross = Fraction(sum(costs) + sum(round(Fraction(sum(costs) * rate, 10**6)) for rate in rates))
    unit = 10 ** (9 - minor_digits(currency))
    assert totals.total_nanos == round(gross / unit) * unit
    assert sum(line.billed_cost_nanos for line in totals.lines) == totals.total_nanos
