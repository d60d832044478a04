"""An invoice as a whole: its parties, lines, totals and energy; written to and read from JSON."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter

from metering.energy_factors import EnergyFactors
from metering.energy_source import EnergySource
from metering.price_document import Component, Tier
from tenants.ids import ImageId, PriceId, TenantId


class InvoiceState(StrEnum):
    """A draft changes with every image; what follows never changes but by its state."""

    DRAFT = "DRAFT"
    FINALIZED = "FINALIZED"
    PAID = "PAID"
    VOID = "VOID"


class LineKind(StrEnum):
    """Why a line is there."""

    USAGE = "USAGE"
    # Usage of an earlier period that came when its invoice was finalized already.
    ADJUSTMENT = "ADJUSTMENT"
    # What volume tiers make of the period's usage beyond what was charged image by image.
    VOLUME_TIER = "VOLUME_TIER"
    # What is missing to the period's minimum.
    MINIMUM = "MINIMUM"
    DISCOUNT = "DISCOUNT"
    # Energy of the tenant's workers that held a GPU and had nothing to do.
    PARKED_ENERGY = "PARKED_ENERGY"
    TAX = "TAX"
    # Paid beforehand: prepaid credit that the usage has consumed; negative.
    CREDIT_APPLIED = "CREDIT_APPLIED"
    # Takes the sum to the minor unit of the currency.
    ROUNDING = "ROUNDING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Seller or buyer; the address is in lines."""

    legal_name: str
    postal_address: str
    vat_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line; what follows ``billed_cost_nanos`` is told of usage.

    Unit price and price version are None where several hold. ``period`` names the earlier month
    that an adjustment is for.
    """

    kind: LineKind
    description: str
    billed_cost_nanos: int
    component: Component | None = None
    model: str = ""
    tier: Tier | None = None
    image_count: int = 0
    price_id: PriceId | None = None
    consumed_quantity: Decimal | None = None
    consumed_unit: str = ""
    list_unit_price_nanos: Decimal | None = None
    period: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceEnergy:
    """What the invoice's images of one model consumed, by where the figure comes from.

    The error is one standard deviation. ``factors`` is None where the operator has set none for
    that time: then nothing is said about the building or the grid.
    """

    model: str
    energy_source: EnergySource
    image_count: int
    energy_millijoules: int
    energy_error_millijoules: int = 0
    factors: EnergyFactors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDay:
    """What was drawn and charged on one day of the tenant's clock."""

    day: date
    image_count: int
    energy_millijoules: int
    billed_cost_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFailure:
    """Images that did not come, for one reason; they cost nothing."""

    outcome: str
    failure_reason: str
    image_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceImage:
    """One charged image, for the appendix."""

    image_id: ImageId
    charge_time: datetime
    project: str
    model: str
    width: int
    height: int
    num_inference_steps: int
    gpu_seconds: float
    energy_millijoules: int
    energy_source: EnergySource
    price_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNote:
    """A correction of a finalized invoice; ``amount_nanos`` is positive and includes its tax."""

    credit_note_number: int
    amount_nanos: int
    tax_nanos: int
    reason: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """The lines add up to ``total_nanos`` exactly.

    ``subtotal_nanos`` is the net sum, ``credit_applied_nanos`` what of it was prepaid (positive
    here, a negative line). ``invoice_id`` is the period, such as ``2026-11``; ``invoice_number`` is
    None for a draft. ``images`` is empty when there are too many to print. From ``settle_time`` on
    it tells what happened after it was finalized; that is no part of the document as sent.
    """

    tenant_id: TenantId
    invoice_id: str
    invoice_number: int | None
    state: InvoiceState
    # When a draft was read, or an invoice finalized.
    issue_time: datetime
    billing_period_start: datetime
    billing_period_end: datetime
    time_zone: str
    seller: Party
    buyer: Party
    currency: str
    lines: tuple[InvoiceLine, ...]
    subtotal_nanos: int
    tax_nanos: int
    rounding_nanos: int
    total_nanos: int
    image_count: int
    failed_image_count: int
    energy: tuple[InvoiceEnergy, ...]
    images: tuple[InvoiceImage, ...]
    credit_applied_nanos: int = 0
    days: tuple[InvoiceDay, ...] = ()
    failures: tuple[InvoiceFailure, ...] = ()
    settle_time: datetime | None = None
    settle_note: str = ""
    credit_notes: tuple[CreditNote, ...] = ()

    @property
    def due_nanos(self) -> int:
        """What is still to be paid."""
        if self.state in {InvoiceState.PAID, InvoiceState.VOID}:
            return 0
        return self.total_nanos - sum(note.amount_nanos for note in self.credit_notes)


_ADAPTER: Final = TypeAdapter(Invoice)


def to_canonical_json(invoice: Invoice) -> str:
    """Write an invoice so that equal invoices give equal bytes; decimals are text."""
    members: object = _ADAPTER.dump_python(invoice, mode="json")
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str) -> Invoice:
    """Read an invoice that ``to_canonical_json`` wrote."""
    return _ADAPTER.validate_json(text)
