"""FOCUS 1.2: the mandatory columns are there, of their types, and their sums are the invoice's."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from metering.energy_source import EnergySource
from metering.focus import FOCUS_COLUMNS, FocusAccount, invoice_rows, usage_rows
from metering.invoice_document import InvoiceLine, LineKind
from metering.price_document import Component, Tier
from metering.rating import RatedLine
from metering.table_files import ColumnType, CsvWriter, Row
from metering.usage_records import Receipt, UsageOutcome, UsageRecord
from tenants.ids import ImageId, JobId, KeyId, PriceId, TenantId
from tests.unit.metering.sample_invoices import finalized_invoice, sample_invoice

# The columns whose feature level is Mandatory in FOCUS 1.2, with the type of each.
MANDATORY = {
    "BilledCost": "Decimal",
    "BillingAccountId": "String",
    "BillingAccountName": "String",
    "BillingCurrency": "String",
    "BillingPeriodEnd": "Date/Time",
    "BillingPeriodStart": "Date/Time",
    "ChargeCategory": "String",
    "ChargeClass": "String",
    "ChargeDescription": "String",
    "ChargePeriodEnd": "Date/Time",
    "ChargePeriodStart": "Date/Time",
    "ContractedCost": "Decimal",
    "EffectiveCost": "Decimal",
    "InvoiceIssuerName": "String",
    "ListCost": "Decimal",
    "PricingQuantity": "Decimal",
    "PricingUnit": "String",
    "ProviderName": "String",
    "PublisherName": "String",
    "ServiceCategory": "String",
    "ServiceName": "String",
}
NULLABLE = {
    "BillingAccountName",
    "ChargeClass",
    "ChargeDescription",
    "PricingQuantity",
    "PricingUnit",
}
TYPES = {
    "Decimal": ColumnType.DECIMAL,
    "String": ColumnType.TEXT,
    "Date/Time": ColumnType.TIME,
}
CATEGORIES = {"Usage", "Purchase", "Tax", "Credit", "Adjustment"}
FREQUENCIES = {"One-Time", "Recurring", "Usage-Based"}
ACCOUNT = FocusAccount(
    tenant_id="acme",
    legal_name="ACME Kitchenware B.V.",
    issuer_name="Nordlicht Rechenwerk GmbH",
    currency="EUR",
    time_zone="Europe/Berlin",
)
USAGE = UsageRecord(
    tenant_id=TenantId("acme"),
    image_id=ImageId("i1"),
    job_id=JobId("j1"),
    attempt=1,
    outcome=UsageOutcome.SUCCEEDED,
    key_id=KeyId("k1"),
    project="spring",
    model="sd35-medium",
    tier=Tier.BATCH,
    width=1024,
    height=1024,
    num_inference_steps=28,
    seed=2**63,
    gpu_seconds=4.2,
    energy_millijoules=3_500_000,
    energy_source=EnergySource.NVML_COUNTER,
    price_id=PriceId("p1"),
    price_nanos=5_000_001,
    currency="EUR",
    charge_time=datetime(2026, 10, 31, 23, 20, tzinfo=UTC),
    labels={"campaign": "mugs"},
)
RECEIPT = Receipt(
    usage=USAGE,
    lines=(
        RatedLine(
            component=Component.PER_IMAGE,
            consumed_quantity=Decimal(1),
            consumed_unit="image",
            list_unit_price_nanos=Decimal("6000000.5"),
            billed_cost_nanos=6_000_000,
        ),
        RatedLine(
            component=Component.CAP,
            consumed_quantity=Decimal(1),
            consumed_unit="image",
            list_unit_price_nanos=Decimal(-999_999),
            billed_cost_nanos=-999_999,
        ),
    ),
)


def as_csv(rows: list[Row]) -> list[dict[str, str]]:
    writer = CsvWriter(FOCUS_COLUMNS)
    data = writer.write(rows) + writer.finish()
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_the_mandatory_columns_are_there_with_their_types() -> None:
    columns = {column.name: column for column in FOCUS_COLUMNS}

    assert {name: columns[name].column_type for name in MANDATORY} == {
        name: TYPES[focus_type] for name, focus_type in MANDATORY.items()
    }
    assert {name for name in MANDATORY if columns[name].nullable} == NULLABLE
    # What FOCUS does not know is marked as ours.
    assert {name for name in columns if name.startswith("x_")} == {
        "x_EnergyMillijoules",
        "x_EnergySource",
        "x_FailureReason",
    }


def test_every_row_fills_every_column_that_may_not_be_empty() -> None:
    rows = [*usage_rows(RECEIPT, ACCOUNT), *invoice_rows(finalized_invoice())]
    filled = {column.name for column in FOCUS_COLUMNS if not column.nullable}

    assert {column.name for column in FOCUS_COLUMNS} == set(rows[0]) == set(rows[-1])
    assert [name for row in rows for name in filled if row[name] in {None, ""}] == []
    assert {row["ChargeCategory"] for row in rows} <= CATEGORIES
    assert {row["ChargeFrequency"] for row in rows} <= FREQUENCIES


def test_times_are_utc_amounts_plain_decimals_and_tags_json() -> None:
    row = as_csv(list(usage_rows(RECEIPT, ACCOUNT)))[0]

    assert row["BillingPeriodStart"] == "2026-10-31T23:00:00Z"
    assert row["ChargePeriodStart"] == "2026-10-31T23:00:00Z"
    assert row["ChargePeriodEnd"] == "2026-11-01T00:00:00Z"
    assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", row["BilledCost"])
    assert row["ListUnitPrice"] == "0.0060000005"
    assert json.loads(row["Tags"]) == {"campaign": "mugs"}
    assert (row["SubAccountId"], row["ResourceId"], row["SkuId"]) == ("spring", "i1", "sd35-medium")


def test_the_costs_of_an_image_add_up_to_its_price_and_its_energy_is_told_once() -> None:
    rows = list(usage_rows(RECEIPT, ACCOUNT))

    for cost in ("BilledCost", "EffectiveCost", "ContractedCost", "ListCost"):
        assert sum(Decimal(str(row[cost])) for row in rows) == Decimal("0.005000001")
    assert [row["x_EnergyMillijoules"] for row in rows] == [3_500_000, None]
    assert [row["ChargeCategory"] for row in rows] == ["Usage", "Adjustment"]


def test_an_image_that_did_not_come_is_a_row_of_zero_with_its_reason() -> None:
    failed = replace(USAGE, outcome=UsageOutcome.FAILED, failure_reason="OUT_OF_MEMORY")

    (row,) = usage_rows(Receipt(usage=failed, lines=()), ACCOUNT)

    assert row["BilledCost"] == 0
    assert (row["ChargeDescription"], row["x_FailureReason"]) == (
        "Not delivered: FAILED",
        "OUT_OF_MEMORY",
    )


def test_the_rows_of_an_invoice_add_up_to_its_total_tax_credit_and_rounding_included() -> None:
    invoice = finalized_invoice()

    rows = as_csv(list(invoice_rows(invoice)))

    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(invoice.total_nanos) / 10**9
    assert {row["InvoiceId"] for row in rows} == {"acme-000017"}
    assert [row["ChargeCategory"] for row in rows][-2:] == ["Tax", "Adjustment"]
    # Tax has no quantity and no unit.
    assert [row["PricingQuantity"] for row in rows if row["ChargeCategory"] == "Tax"] == [""]


def test_late_usage_is_a_correction_and_a_draft_has_no_invoice_id() -> None:
    line = InvoiceLine(
        kind=LineKind.ADJUSTMENT,
        description="Images, late usage of 2026-10",
        billed_cost_nanos=1,
        component=Component.PER_IMAGE,
        model="sd35-medium",
        consumed_quantity=Decimal(1),
        consumed_unit="image",
        period="2026-10",
    )

    (row,) = invoice_rows(replace(sample_invoice(), lines=(line,)))

    assert (row["ChargeCategory"], row["ChargeClass"]) == ("Usage", "Correction")
    assert row["InvoiceId"] is None
