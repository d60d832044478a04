"""Invoices to set and to write: one of every kind of line, and one full of hostile text."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from metering.energy_factors import EnergyFactors
from metering.energy_source import EnergySource
from metering.invoice_document import (
    CreditNote,
    Invoice,
    InvoiceDay,
    InvoiceEnergy,
    InvoiceFailure,
    InvoiceImage,
    InvoiceState,
    Party,
)
from metering.invoice_period_end import UsageLineSum
from metering.invoice_totals import total_invoice
from metering.price_document import (
    Component,
    Discount,
    PriceComponent,
    PriceDocument,
    TaxRate,
    Tier,
)
from tenants.ids import ImageId, PriceId, TenantId

_PRICE = PriceDocument(
    currency="EUR",
    components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=4_000_000),),
    tax_rates=(TaxRate(display_name="VAT 19 %", rate_millionths=190_000),),
)
FACTORS = EnergyFactors(
    effective_time=datetime(2026, 1, 1, tzinfo=UTC),
    pue=Decimal("1.25"),
    carbon_grams_per_kwh=Decimal(344),
    source="own meter of 2025; grid average of Germany",
)
_START = datetime(2026, 10, 31, 23, tzinfo=UTC)


def _usage(
    *,
    component: Component,
    model: str,
    tier: Tier,
    unit: str,
    unit_price: str | None,
    quantity: str,
    cost: int,
) -> UsageLineSum:
    return UsageLineSum(
        component=component,
        model=model,
        tier=tier,
        consumed_unit=unit,
        list_unit_price_nanos=None if unit_price is None else Decimal(unit_price),
        price_id=PriceId("p1"),
        image_count=12,
        consumed_quantity=Decimal(quantity),
        billed_cost_nanos=cost,
    )


_SUMS = [
    _usage(
        component=Component.PER_IMAGE,
        model="sd35-medium",
        tier=Tier.BATCH,
        unit="image",
        unit_price="2000000",
        quantity="1240",
        cost=2_480_000_000,
    ),
    _usage(
        component=Component.PER_MEGAPIXEL_STEP,
        model="sd35-medium",
        tier=Tier.BATCH,
        unit="megapixel-step",
        unit_price="166666.5",
        quantity="36406.55872",
        cost=6_067_755_712,
    ),
    _usage(
        component=Component.PER_GPU_SECOND,
        model="sd35-medium",
        tier=Tier.BATCH,
        unit="second",
        unit_price="750000",
        quantity="6510.25",
        cost=4_882_687_500,
    ),
    _usage(
        component=Component.PER_KWH,
        model="sd35-medium",
        tier=Tier.BATCH,
        unit="kWh",
        unit_price="125000000",
        quantity="1.205555555556",
        cost=150_694_444,
    ),
    _usage(
        component=Component.PER_IMAGE,
        model="sd35-large",
        tier=Tier.INTERACTIVE,
        unit="image",
        unit_price="9000000",
        quantity="18",
        cost=162_000_000,
    ),
    _usage(
        component=Component.CAP,
        model="sd35-large",
        tier=Tier.INTERACTIVE,
        unit="image",
        unit_price=None,
        quantity="1",
        cost=-1_234_567,
    ),
]


def sample_invoice() -> Invoice:
    """A draft in the middle of its month."""
    totals = total_invoice(_SUMS, {PriceId("p1"): _PRICE}, currency="EUR")
    return Invoice(
        tenant_id=TenantId("acme"),
        invoice_id="2026-11",
        invoice_number=None,
        state=InvoiceState.DRAFT,
        issue_time=datetime(2026, 11, 24, 13, 10, tzinfo=UTC),
        billing_period_start=_START,
        billing_period_end=datetime(2026, 11, 30, 23, tzinfo=UTC),
        time_zone="Europe/Berlin",
        seller=Party(
            legal_name="Nordlicht Rechenwerk GmbH",
            postal_address="Hafenstraße 12\n20457 Hamburg\nGermany",
            vat_id="DE123456789",
        ),
        buyer=Party(
            legal_name="ACME Kitchenware B.V.",
            postal_address="Prinsengracht 263\n1016 GV Amsterdam\nNetherlands",
            vat_id="NL001234567B01",
        ),
        currency="EUR",
        lines=totals.lines,
        subtotal_nanos=totals.subtotal_nanos,
        tax_nanos=totals.tax_nanos,
        rounding_nanos=totals.rounding_nanos,
        total_nanos=totals.total_nanos,
        image_count=1258,
        failed_image_count=3,
        energy=(
            InvoiceEnergy(
                model="sd35-large",
                energy_source=EnergySource.ESTIMATED,
                image_count=18,
                energy_millijoules=612_000_000,
                factors=FACTORS,
            ),
            InvoiceEnergy(
                model="sd35-medium",
                energy_source=EnergySource.NVML_COUNTER,
                image_count=1240,
                energy_millijoules=4_340_000_000,
                energy_error_millijoules=1_210_000,
                factors=FACTORS,
            ),
        ),
        images=tuple(_image(number) for number in range(60)),
        days=tuple(_day(number) for number in range(24) if number % 7 != 0),
        failures=(
            InvoiceFailure(outcome="FAILED", failure_reason="OUT_OF_MEMORY", image_count=2),
            InvoiceFailure(outcome="CANCELLED", failure_reason="", image_count=1),
        ),
    )


def finalized_invoice() -> Invoice:
    return replace(sample_invoice(), state=InvoiceState.FINALIZED, invoice_number=17)


def invoice_of_every_line() -> Invoice:
    """A finalized one with late usage, volume tier, discount, minimum, credit; one correction."""
    price = replace(
        _PRICE,
        discounts=(Discount(display_name="Partner discount 5 %", rate_millionths=50_000),),
        minimum_per_period_nanos=20_000_000_000,
    )
    late = replace(_SUMS[0], period="2026-10", image_count=4, consumed_quantity=Decimal(4))
    totals = total_invoice(
        [*_SUMS, replace(late, billed_cost_nanos=8_000_000)],
        {PriceId("p1"): price},
        currency="EUR",
        prepaid_nanos=5_000_000_000,
        period_price=price,
    )
    return replace(
        finalized_invoice(),
        issue_time=datetime(2026, 12, 2, 8, tzinfo=UTC),
        lines=totals.lines,
        subtotal_nanos=totals.subtotal_nanos,
        tax_nanos=totals.tax_nanos,
        credit_applied_nanos=totals.credit_applied_nanos,
        rounding_nanos=totals.rounding_nanos,
        total_nanos=totals.total_nanos,
        credit_notes=(
            CreditNote(
                credit_note_number=3,
                amount_nanos=1_190_000_000,
                tax_nanos=190_000_000,
                reason="Twelve pictures with a colour cast",
                create_time=datetime(2026, 12, 5, 9, tzinfo=UTC),
            ),
        ),
    )


def empty_invoice() -> Invoice:
    totals = total_invoice([], {}, currency="EUR")
    return replace(
        sample_invoice(),
        lines=totals.lines,
        subtotal_nanos=0,
        tax_nanos=0,
        rounding_nanos=0,
        total_nanos=0,
        image_count=0,
        failed_image_count=0,
        energy=(),
        images=(),
    )


HOSTILE = '"]#panic("typst") *bold* $x$ `raw` \\ <label> @ref [] // =1+1 \u202e\x00 \U0001d4b3 漢字'


def hostile_invoice() -> Invoice:
    """A tenant who tries to write typst, JSON and spreadsheet formulas into an invoice."""
    party = Party(legal_name=HOSTILE, postal_address=f"{HOSTILE}\n{HOSTILE}", vat_id=HOSTILE)
    image = replace(_image(0), project=HOSTILE, model="=HYPERLINK(1)")
    lines = tuple(
        replace(line, description=f"={line.description}", model="@SUM(1)")
        for line in sample_invoice().lines
    )
    return replace(sample_invoice(), buyer=party, lines=lines, images=(image,))


def _day(number: int) -> InvoiceDay:
    count = 31 + 17 * (number % 5) + 3 * number
    return InvoiceDay(
        day=date(2026, 11, 1) + timedelta(days=number),
        image_count=count,
        energy_millijoules=3_400_000 * count,
        billed_cost_nanos=10_000_000 * count,
    )


def _image(number: int) -> InvoiceImage:
    measured = number % 5 != 0
    return InvoiceImage(
        image_id=ImageId(f"{number:02}k3v7n2p8q4r6s9t1w5"[:20]),
        charge_time=_START + timedelta(hours=9.37 * number),
        project="spring" if number % 3 else "",
        model="sd35-medium" if measured else "sd35-large",
        width=1024,
        height=768 + 16 * (number % 17),
        num_inference_steps=28,
        gpu_seconds=4.11 + number / 7,
        energy_millijoules=3_412_345 + 10_007 * number,
        energy_source=EnergySource.NVML_COUNTER if measured else EnergySource.ESTIMATED,
        price_nanos=9_952_378 + 1_234 * number,
    )
