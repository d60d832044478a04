"""From an invoice to the words and figures that are printed of it."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final
from zoneinfo import ZoneInfo

from metering.energy_source import MEASURED_SOURCES, EnergySource
from metering.invoice_document import (
    Invoice,
    InvoiceEnergy,
    InvoiceImage,
    InvoiceLine,
    InvoiceState,
    LineKind,
    Party,
)
from metering.invoice_page import (
    Amount,
    InvoicePage,
    LineGroup,
    PrintedEnergy,
    PrintedImage,
    PrintedLine,
    PrintedParty,
    Sum,
)
from metering.money import decimal_text, exact_text, minor_digits

_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_STATES: Final = {
    InvoiceState.DRAFT: "Draft, month to date",
    InvoiceState.FINALIZED: "Open",
    InvoiceState.PAID: "Paid",
    InvoiceState.VOID: "Void",
}
_SOURCES: Final = {
    EnergySource.NVML_COUNTER: "measured, the GPU’s energy counter",
    EnergySource.NVML_POWER: "measured, the GPU’s power over time",
    EnergySource.RAPL: "measured, the processor’s energy counter",
    EnergySource.ESTIMATED: "estimated, not measured",
    EnergySource.PARTIAL: "incomplete, readings are missing",
    EnergySource.NONE: "unknown, no readings",
}
_MILLIJOULES_PER_KWH: Final = 3_600_000_000
# A kilowatt-hour to the milliwatt-hour: 3.6 J, below what one image takes.
_KWH_PLACES: Final = 6


def to_page(invoice: Invoice) -> InvoicePage:
    """Word an invoice for its reader, in the tenant's time zone."""
    is_draft = invoice.state is InvoiceState.DRAFT
    return InvoicePage(
        title="Draft invoice" if is_draft else "Invoice",
        number="" if invoice.invoice_number is None else _number(invoice),
        state=_STATES[invoice.state],
        is_draft=is_draft,
        is_void=invoice.state is InvoiceState.VOID,
        issued=_date_and_time(invoice.issue_time, invoice.time_zone),
        issued_label="As of" if is_draft else "Issued",
        period=_period(invoice),
        time_zone=invoice.time_zone,
        tenant_id=invoice.tenant_id,
        currency=invoice.currency,
        seller=_party(invoice.seller),
        buyer=_party(invoice.buyer),
        image_count=_count(invoice.image_count, "image"),
        failed_image_count=(
            _count(invoice.failed_image_count, "image") if invoice.failed_image_count else ""
        ),
        groups=_groups(invoice),
        subtotal=_amount(invoice.subtotal_nanos, invoice.currency),
        sums=tuple(
            Sum(
                description=line.description,
                amount=_amount(line.billed_cost_nanos, invoice.currency),
            )
            for line in invoice.lines
            if line.kind is not LineKind.USAGE
        ),
        total=_amount(invoice.total_nanos, invoice.currency).payable,
        energy=_energy(invoice),
        images=tuple(_image(image, invoice) for image in invoice.images),
    )


def _number(invoice: Invoice) -> str:
    return f"{invoice.tenant_id}-{invoice.invoice_number:06}"


def _period(invoice: Invoice) -> str:
    zone = ZoneInfo(invoice.time_zone)
    start = invoice.billing_period_start.astimezone(zone)
    # Its end is the first midnight after it.
    last = (invoice.billing_period_end - timedelta(hours=1)).astimezone(zone)
    return f"{start.day} – {last.day} {_MONTHS[last.month - 1]} {last.year}"


def _date_and_time(time: datetime, time_zone: str) -> str:
    local = time.astimezone(ZoneInfo(time_zone))
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}, {local:%H:%M}"


def _party(party: Party) -> PrintedParty:
    return PrintedParty(
        legal_name=party.legal_name,
        address_lines=tuple(line.strip() for line in party.postal_address.splitlines()),
        vat_id=party.vat_id,
    )


def _groups(invoice: Invoice) -> tuple[LineGroup, ...]:
    usage = [line for line in invoice.lines if line.kind is LineKind.USAGE]
    return tuple(
        LineGroup(
            model=model,
            tier="" if tier is None else tier.value.lower(),
            lines=tuple(_line(line, invoice.currency) for line in lines),
        )
        # They come sorted by both.
        for (model, tier), lines in groupby(usage, key=lambda line: (line.model, line.tier))
    )


def _line(line: InvoiceLine, currency: str) -> PrintedLine:
    quantity = line.consumed_quantity
    unit_price = line.list_unit_price_nanos
    return PrintedLine(
        description=line.description,
        quantity="" if quantity is None else _grouped(exact_text(quantity)),
        unit=_plural(line.consumed_unit, quantity),
        unit_price=(
            ""
            if unit_price is None
            else _grouped(decimal_text(unit_price, places_min=minor_digits(currency)))
        ),
        amount=_amount(line.billed_cost_nanos, currency),
    )


def _energy(invoice: Invoice) -> tuple[PrintedEnergy, ...]:
    greatest = max((part.energy_millijoules for part in invoice.energy), default=0)
    return tuple(_printed_energy(part, greatest) for part in invoice.energy)


def _printed_energy(part: InvoiceEnergy, greatest_millijoules: int) -> PrintedEnergy:
    kilowatt_hours = Decimal(part.energy_millijoules) / _MILLIJOULES_PER_KWH
    return PrintedEnergy(
        model=part.model,
        image_count=f"{part.image_count:,}",
        kilowatt_hours=f"{kilowatt_hours:,.{_KWH_PLACES}f}",
        joules_per_image=f"{Decimal(part.energy_millijoules) / 1000 / part.image_count:,.1f}",
        source=_SOURCES[part.energy_source],
        is_measured=_is_measured(part.energy_source),
        share=part.energy_millijoules / greatest_millijoules if greatest_millijoules else 0.0,
    )


def _image(image: InvoiceImage, invoice: Invoice) -> PrintedImage:
    local = image.charge_time.astimezone(ZoneInfo(invoice.time_zone))
    return PrintedImage(
        time=f"{local:%d %H:%M:%S}",
        image_id=image.image_id,
        project=image.project,
        model=image.model,
        size=f"{image.width} × {image.height}",
        steps=str(image.num_inference_steps),
        seconds=f"{image.gpu_seconds:,.2f}",
        joules=f"{Decimal(image.energy_millijoules) / 1000:,.1f}",
        is_measured=_is_measured(image.energy_source),
        amount=_amount(image.price_nanos, invoice.currency),
    )


def _is_measured(source: EnergySource) -> bool:
    return source in MEASURED_SOURCES


def _amount(amount_nanos: int, currency: str) -> Amount:
    places = minor_digits(currency)
    whole, _, fraction = decimal_text(amount_nanos, places_min=places).partition(".")
    payable = _grouped(f"{whole}.{fraction[:places]}" if places else whole)
    beyond = fraction[places:]
    # A currency without a minor unit still shows where its decimals begin.
    return Amount(payable=payable, beyond=f".{beyond}" if beyond and not places else beyond)


def _grouped(number: str) -> str:
    """Set commas between thousands and a true minus before what is negative."""
    whole, point, fraction = number.partition(".")
    sign = "−" if whole.startswith("-") else ""
    return f"{sign}{int(whole.lstrip('-')):,}{point}{fraction}"


def _plural(unit: str, quantity: Decimal | None) -> str:
    return unit if quantity == 1 or unit == "kWh" else f"{unit}s"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
