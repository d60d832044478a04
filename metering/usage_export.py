"""Usage records as rows of a table: every image that reached its end, with reason and price."""

import json
from decimal import Decimal
from typing import Final

from metering.table_files import ColumnType, Row, TableColumn
from metering.usage_records import UsageRecord

_NANO_DIGITS: Final = 9

USAGE_COLUMNS: Final = (
    TableColumn(name="charge_time", column_type=ColumnType.TIME, nullable=False),
    TableColumn(name="tenant_id", nullable=False),
    TableColumn(name="job_id", nullable=False),
    TableColumn(name="image_id", nullable=False),
    TableColumn(name="outcome", nullable=False),
    TableColumn(name="failure_reason"),
    TableColumn(name="key_id", nullable=False),
    TableColumn(name="project", nullable=False),
    TableColumn(name="labels", nullable=False),
    TableColumn(name="model", nullable=False),
    TableColumn(name="tier", nullable=False),
    TableColumn(name="width", column_type=ColumnType.INTEGER, nullable=False),
    TableColumn(name="height", column_type=ColumnType.INTEGER, nullable=False),
    TableColumn(name="num_inference_steps", column_type=ColumnType.INTEGER, nullable=False),
    # A seed has 64 bits without a sign: as text it fits everywhere.
    TableColumn(name="seed", nullable=False),
    TableColumn(name="gpu_id"),
    TableColumn(name="gpu_seconds", column_type=ColumnType.DECIMAL, nullable=False),
    TableColumn(name="energy_millijoules", column_type=ColumnType.INTEGER, nullable=False),
    TableColumn(name="energy_error_millijoules", column_type=ColumnType.INTEGER, nullable=False),
    TableColumn(name="energy_source", nullable=False),
    TableColumn(name="price_id", nullable=False),
    TableColumn(name="billed_cost", column_type=ColumnType.DECIMAL, nullable=False),
    TableColumn(name="billing_currency", nullable=False),
)


def usage_row(record: UsageRecord) -> Row:
    """Write a record; what failed has its reason and costs nothing."""
    return {
        "charge_time": record.charge_time,
        "tenant_id": record.tenant_id,
        "job_id": record.job_id,
        "image_id": record.image_id,
        "outcome": record.outcome.value,
        "failure_reason": record.failure_reason,
        "key_id": record.key_id,
        "project": record.project,
        "labels": json.dumps(dict(record.labels), sort_keys=True, ensure_ascii=False),
        "model": record.model,
        "tier": record.tier.value,
        "width": record.width,
        "height": record.height,
        "num_inference_steps": record.num_inference_steps,
        "seed": str(record.seed),
        "gpu_id": record.gpu_id,
        "gpu_seconds": Decimal(repr(record.gpu_seconds)).quantize(Decimal("0.000001")),
        "energy_millijoules": record.energy_millijoules,
        "energy_error_millijoules": record.energy_error_millijoules,
        "energy_source": record.energy_source.value,
        "price_id": record.price_id,
        "billed_cost": units(record.price_nanos),
        "billing_currency": record.currency,
    }


def units(amount_nanos: int | Decimal) -> Decimal:
    """Write nanos in units of their currency, exactly."""
    return Decimal(amount_nanos).scaleb(-_NANO_DIGITS)
