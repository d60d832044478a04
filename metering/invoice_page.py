"""What is printed of an invoice: figures and dates as text, nothing of layout."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """An exact amount; ``beyond`` holds the decimals that the currency cannot pay."""

    payable: str
    beyond: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedParty:
    """Seller or buyer, line by line."""

    legal_name: str
    address_lines: tuple[str, ...]
    vat_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedLine:
    """A line of usage."""

    description: str
    quantity: str
    unit: str
    unit_price: str
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class LineGroup:
    """The lines of one model and tier; ``period`` is the earlier month of late ones."""

    model: str
    tier: str
    period: str
    lines: tuple[PrintedLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A line between subtotal and total."""

    description: str
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedEnergy:
    """Energy of one model from one source; ``share`` is its part of the greatest, 0 to 1."""

    model: str
    image_count: str
    kilowatt_hours: str
    # Half the width of the 95 % interval; empty where no error is known.
    interval: str
    joules_per_image: str
    # CO₂ equivalent with its unit; empty where the operator has set no factors.
    carbon: str
    source: str
    is_measured: bool
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedDay:
    """A day of the chart; ``share`` is its part of the greatest, 0 to 1."""

    label: str
    count: str
    share: float
    is_greatest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedFailure:
    """Images that did not come, for one reason."""

    reason: str
    count: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedNote:
    """A correction."""

    number: str
    date: str
    reason: str
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedImage:
    """One image of the appendix."""

    time: str
    image_id: str
    project: str
    model: str
    size: str
    steps: str
    seconds: str
    joules: str
    is_measured: bool
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePage:
    """All that is printed."""

    title: str
    number: str
    state: str
    is_draft: bool
    is_void: bool
    issued: str
    issued_label: str
    period: str
    time_zone: str
    tenant_id: str
    currency: str
    seller: PrintedParty
    buyer: PrintedParty
    image_count: str
    failed_image_count: str
    groups: tuple[LineGroup, ...]
    subtotal: Amount
    sums: tuple[Sum, ...]
    total: str
    # What is still to be paid, and a sentence on it: how, or why nothing.
    due: str
    settlement: str
    notes: tuple[PrintedNote, ...]
    failures: tuple[PrintedFailure, ...]
    energy: tuple[PrintedEnergy, ...]
    energy_total: str
    carbon_total: str
    factors: tuple[str, ...]
    days: tuple[PrintedDay, ...]
    images: tuple[PrintedImage, ...]
