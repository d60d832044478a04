"""FOCUS 1.2: the FinOps Open Cost and Usage Specification, of usage and of invoices.

Every row is a charge. Of usage there is one for each line of an image's receipt, and one of zero
for each image that did not come; of an invoice one for each of its lines, so that the sum of
BilledCost is the invoice's total. What FOCUS does not know begins with ``x_``.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from metering.invoice_document import Invoice, InvoiceLine, LineKind
from metering.invoice_period_end import COMPONENT_NAMES
from metering.periods import BillingPeriod
from metering.price_document import Component
from metering.rating import RatedLine
from metering.table_files import ColumnType, Row, TableColumn
from metering.usage_export import units
from metering.usage_records import Receipt

_HOUR: Final = timedelta(hours=1)


def _column(name: str, column_type: ColumnType = ColumnType.TEXT) -> TableColumn:
    return TableColumn(name=name, column_type=column_type)


def _mandatory(name: str, column_type: ColumnType = ColumnType.TEXT) -> TableColumn:
    return TableColumn(name=name, column_type=column_type, nullable=False)


FOCUS_COLUMNS: Final = (
    _mandatory("BilledCost", ColumnType.DECIMAL),
    _mandatory("BillingAccountId"),
    _column("BillingAccountName"),
    _mandatory("BillingAccountType"),
    _mandatory("BillingCurrency"),
    _mandatory("BillingPeriodEnd", ColumnType.TIME),
    _mandatory("BillingPeriodStart", ColumnType.TIME),
    _mandatory("ChargeCategory"),
    _column("ChargeClass"),
    _column("ChargeDescription"),
    _mandatory("ChargeFrequency"),
    _mandatory("ChargePeriodEnd", ColumnType.TIME),
    _mandatory("ChargePeriodStart", ColumnType.TIME),
    _column("ConsumedQuantity", ColumnType.DECIMAL),
    _column("ConsumedUnit"),
    _mandatory("ContractedCost", ColumnType.DECIMAL),
    _column("ContractedUnitPrice", ColumnType.DECIMAL),
    _mandatory("EffectiveCost", ColumnType.DECIMAL),
    _column("InvoiceId"),
    _mandatory("InvoiceIssuerName"),
    _mandatory("ListCost", ColumnType.DECIMAL),
    _column("ListUnitPrice", ColumnType.DECIMAL),
    _column("PricingCategory"),
    _column("PricingQuantity", ColumnType.DECIMAL),
    _column("PricingUnit"),
    _mandatory("ProviderName"),
    _mandatory("PublisherName"),
    _column("ResourceId"),
    _column("ResourceType"),
    _mandatory("ServiceCategory"),
    _mandatory("ServiceName"),
    _column("ServiceSubcategory"),
    _column("SkuId"),
    _column("SkuMeter"),
    _column("SkuPriceId"),
    _column("SubAccountId"),
    _column("SubAccountName"),
    _column("Tags"),
    _column("x_EnergyMillijoules", ColumnType.INTEGER),
    _column("x_EnergySource"),
    _column("x_FailureReason"),
)
_CATEGORIES: Final[Mapping[LineKind, str]] = {
    LineKind.USAGE: "Usage",
    LineKind.ADJUSTMENT: "Usage",
    LineKind.VOLUME_TIER: "Adjustment",
    LineKind.PARKED_ENERGY: "Usage",
    LineKind.MINIMUM: "Adjustment",
    LineKind.DISCOUNT: "Adjustment",
    LineKind.TAX: "Tax",
    LineKind.CREDIT_APPLIED: "Credit",
    LineKind.ROUNDING: "Adjustment",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusAccount:
    """Who is billed by whom, and in which time zone its months are."""

    tenant_id: str
    legal_name: str
    issuer_name: str
    currency: str
    time_zone: str


def usage_rows(receipt: Receipt, account: FocusAccount) -> Iterable[Row]:
    """Write one image: a row for each line of its receipt, or one of zero."""
    usage = receipt.usage
    period = BillingPeriod.containing(usage.charge_time, time_zone=account.time_zone)
    hour = usage.charge_time.replace(minute=0, second=0, microsecond=0)
    image: dict[str, str | int | Decimal | datetime | None] = {
        **_account_cells(account),
        "BillingPeriodStart": period.start_time,
        "BillingPeriodEnd": period.end_time,
        "ChargePeriodStart": hour,
        "ChargePeriodEnd": hour + _HOUR,
        "ResourceId": usage.image_id,
        "ResourceType": "Image",
        "SkuId": usage.model,
        "SkuPriceId": usage.price_id,
        "SubAccountId": usage.project or None,
        "SubAccountName": usage.project or None,
        "Tags": json.dumps(dict(usage.labels), sort_keys=True, ensure_ascii=False),
        "x_FailureReason": usage.failure_reason,
    }
    if not receipt.lines:
        yield {**image, **_costs(0), "ChargeDescription": f"Not delivered: {usage.outcome.value}"}
    for number, line in enumerate(receipt.lines):
        # The image's energy is told once, or its sum would be a multiple.
        energy = usage.energy_millijoules if number == 0 else None
        yield {
            **image,
            **_line_cells(line),
            "x_EnergyMillijoules": energy,
            "x_EnergySource": None if energy is None else usage.energy_source.value,
        }


def invoice_rows(invoice: Invoice) -> Iterable[Row]:
    """Write an invoice; the sum of BilledCost is its total."""
    account = FocusAccount(
        tenant_id=invoice.tenant_id,
        legal_name=invoice.buyer.legal_name,
        issuer_name=invoice.seller.legal_name,
        currency=invoice.currency,
        time_zone=invoice.time_zone,
    )
    number = invoice.invoice_number
    for line in invoice.lines:
        yield {
            **_account_cells(account),
            **_invoice_line_cells(line),
            "BillingPeriodStart": invoice.billing_period_start,
            "BillingPeriodEnd": invoice.billing_period_end,
            "ChargePeriodStart": invoice.billing_period_start,
            "ChargePeriodEnd": invoice.billing_period_end,
            "InvoiceId": None if number is None else f"{invoice.tenant_id}-{number:06}",
        }


def _account_cells(account: FocusAccount) -> dict[str, str | int | Decimal | datetime | None]:
    """Every column, those of the account filled."""
    return dict.fromkeys(column.name for column in FOCUS_COLUMNS) | {
        "BillingAccountId": account.tenant_id,
        "BillingAccountName": account.legal_name,
        "BillingAccountType": "Tenant",
        "BillingCurrency": account.currency,
        "InvoiceIssuerName": account.issuer_name,
        "ProviderName": account.issuer_name,
        "PublisherName": account.issuer_name,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": "Image generation",
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
    }


def _line_cells(line: RatedLine) -> dict[str, str | Decimal | None]:
    if line.component is Component.CAP:
        return {
            **_costs(line.billed_cost_nanos),
            "ChargeCategory": "Adjustment",
            "ChargeDescription": COMPONENT_NAMES[line.component],
        }
    return {
        **_costs(line.billed_cost_nanos),
        **_priced(line.consumed_quantity, line.consumed_unit, line.list_unit_price_nanos),
        "ChargeDescription": COMPONENT_NAMES[line.component],
        "SkuMeter": line.component.value,
    }


def _invoice_line_cells(line: InvoiceLine) -> dict[str, str | Decimal | None]:
    cells: dict[str, str | Decimal | None] = {
        **_costs(line.billed_cost_nanos),
        "ChargeCategory": _CATEGORIES[line.kind],
        # Late usage corrects a period that was invoiced before.
        "ChargeClass": "Correction" if line.kind is LineKind.ADJUSTMENT else None,
        "ChargeDescription": line.description,
        "ChargeFrequency": "Usage-Based" if line.consumed_quantity is not None else "Recurring",
        "SkuId": line.model or None,
        "SkuMeter": line.component.value if line.component else None,
        "SkuPriceId": line.price_id,
    }
    if line.component is Component.CAP:
        return cells | {"ChargeCategory": "Adjustment"}
    if line.consumed_quantity is None:
        return cells
    return cells | _priced(line.consumed_quantity, line.consumed_unit, line.list_unit_price_nanos)


def _costs(cost_nanos: int) -> dict[str, str | Decimal | None]:
    """All four are the same: nothing is amortised, and discounts are rows of their own."""
    cost = units(cost_nanos)
    return dict.fromkeys(("BilledCost", "EffectiveCost", "ContractedCost", "ListCost"), cost)


def _priced(
    quantity: Decimal, unit: str, unit_price_nanos: Decimal | None
) -> dict[str, str | Decimal | None]:
    unit_price = None if unit_price_nanos is None else units(unit_price_nanos)
    return {
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "PricingCategory": "Standard",
        "ListUnitPrice": unit_price,
        "ContractedUnitPrice": unit_price,
    }
