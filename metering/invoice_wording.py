"""From an invoice to the words and figures that are printed of it."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final
from zoneinfo import ZoneInfo

from metering.energy_source import MEASURED_SOURCES, EnergySource
from metering.invoice_document import (
    CreditNote,
    Invoice,
    InvoiceFailure,
    InvoiceImage,
    InvoiceLine,
    InvoiceState,
    LineKind,
    Party,
)
from metering.invoice_energy_wording import (
    carbon_total,
    energy_total,
    factor_sentences,
    printed_days,
    printed_energy,
)
from metering.invoice_page import (
    Amount,
    InvoicePage,
    LineGroup,
    PrintedFailure,
    PrintedImage,
    PrintedLine,
    PrintedNote,
    PrintedParty,
    Sum,
)
from metering.invoice_period_end import COMPONENT_NAMES
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
# What is put onto or taken off the net sum; the rest makes it up.
_BELOW_SUBTOTAL: Final = frozenset({LineKind.TAX, LineKind.CREDIT_APPLIED, LineKind.ROUNDING})
_PERIOD_ENDS: Final = frozenset(
    {LineKind.VOLUME_TIER, LineKind.DISCOUNT, LineKind.PARKED_ENERGY, LineKind.MINIMUM}
)


def to_page(invoice: Invoice) -> InvoicePage:
    """Word an invoice for its reader, in the tenant's time zone."""
    is_draft = invoice.state is InvoiceState.DRAFT
    return InvoicePage(
        title="Draft invoice" if is_draft else "Invoice",
        number="" if invoice.invoice_number is None else _number(invoice),
        state=_state(invoice),
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
            if line.kind in _BELOW_SUBTOTAL
        ),
        total=_amount(invoice.total_nanos, invoice.currency).payable,
        due=_amount(invoice.due_nanos, invoice.currency).payable,
        settlement=_settlement(invoice),
        notes=tuple(_note(note, invoice) for note in invoice.credit_notes),
        failures=tuple(_failure(failure) for failure in invoice.failures),
        energy=printed_energy(invoice),
        energy_total=energy_total(invoice),
        carbon_total=carbon_total(invoice),
        factors=factor_sentences(invoice),
        days=printed_days(invoice),
        images=tuple(_image(image, invoice) for image in invoice.images),
    )


def _state(invoice: Invoice) -> str:
    if invoice.state is InvoiceState.FINALIZED and invoice.due_nanos == 0:
        return "Nothing to pay"
    return _STATES[invoice.state]


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
    usage = [line for line in invoice.lines if line.kind in {LineKind.USAGE, LineKind.ADJUSTMENT}]
    ends = [line for line in invoice.lines if line.kind in _PERIOD_ENDS]
    groups = [
        LineGroup(
            model=model,
            tier="" if tier is None else tier.value.lower(),
            period=_month(period) if period else "",
            lines=tuple(_line(line, invoice.currency) for line in lines),
        )
        # They come sorted by all three.
        for (period, model, tier), lines in groupby(
            usage, key=lambda line: (line.period, line.model, line.tier)
        )
    ]
    if ends:
        lines = tuple(_line(line, invoice.currency) for line in ends)
        groups.append(
            LineGroup(model="Settled at the month’s end", tier="", period="", lines=lines)
        )
    return tuple(groups)


def _settlement(invoice: Invoice) -> str:
    """Say what became of it, or what it waits for."""
    when = (
        ""
        if invoice.settle_time is None
        else _date_and_time(invoice.settle_time, invoice.time_zone)
    )
    match invoice.state:
        case InvoiceState.DRAFT:
            return ""
        case InvoiceState.PAID:
            reference = f", reference {invoice.settle_note}" if invoice.settle_note else ""
            return f"Paid on {when}{reference}. Thank you."
        case InvoiceState.VOID:
            return f"Void since {when}: {invoice.settle_note}. Nothing is owed for it."
        case InvoiceState.FINALIZED if invoice.due_nanos == 0:
            return "Nothing is left to pay."
        case InvoiceState.FINALIZED:
            amount = f"{_amount(invoice.due_nanos, invoice.currency).payable} {invoice.currency}"
            return f"Please pay {amount} and name the invoice’s number, {_number(invoice)}."


def _note(note: CreditNote, invoice: Invoice) -> PrintedNote:
    return PrintedNote(
        number=f"{invoice.tenant_id}-C{note.credit_note_number:06}",
        date=_date_and_time(note.create_time, invoice.time_zone),
        reason=note.reason,
        amount=_amount(-note.amount_nanos, invoice.currency),
    )


def _failure(failure: InvoiceFailure) -> PrintedFailure:
    why = failure.failure_reason.replace("_", " ").lower()
    outcome = failure.outcome.lower()
    return PrintedFailure(
        reason=f"{outcome}: {why}" if why else outcome, count=_count(failure.image_count, "image")
    )


def _month(invoice_id: str) -> str:
    year, _, month = invoice_id.partition("-")
    return f"{_MONTHS[int(month) - 1]} {year}"


def _line(line: InvoiceLine, currency: str) -> PrintedLine:
    quantity = line.consumed_quantity
    unit_price = line.list_unit_price_nanos
    return PrintedLine(
        description=COMPONENT_NAMES[line.component]
        if line.period and line.component
        else (
            f"{line.description} · {line.model}, {line.tier.value.lower()}"
            if line.kind is LineKind.VOLUME_TIER and line.tier
            else line.description
        ),
        quantity="" if quantity is None else _grouped(exact_text(quantity)),
        unit=_plural(line.consumed_unit, quantity),
        unit_price=(
            ""
            if unit_price is None
            else _grouped(decimal_text(unit_price, places_min=minor_digits(currency)))
        ),
        amount=_amount(line.billed_cost_nanos, currency),
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
    return unit if quantity == 1 or unit in {"kWh", ""} else f"{unit}s"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
