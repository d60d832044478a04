"""What an image consumed and what it was charged: written once, in the transaction that ends it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from database.queries import load_queries
from database.rows import typed_row
from metering.energy_source import EnergySource
from metering.price_document import Tier
from metering.rating import Rated, RatedLine
from tenants.ids import GpuId, ImageId, JobId, KeyId, PriceId, SessionId, TenantId

_QUERIES: Final = load_queries(__file__)


class UsageOutcome(StrEnum):
    """How the image ended; only SUCCEEDED is charged."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    BLOCKED = "BLOCKED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShare:
    """How many steps an image took in a batch of that size, itself included."""

    batch_size: int
    step_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUsage:
    """What is told of an image at its end.

    ``energy_error_millijoules`` is one standard deviation, without the sensor's systematic part.
    GPU, session and mark are None when it never reached a worker.
    """

    tenant_id: TenantId
    image_id: ImageId
    job_id: JobId
    attempt: int
    outcome: UsageOutcome
    failure_reason: str | None = None
    key_id: KeyId
    project: str
    model: str
    precision: str = ""
    tier: Tier
    width: int
    height: int
    num_inference_steps: int
    seed: int
    gpu_id: GpuId | None = None
    session_id: SessionId | None = None
    last_mark_number: int | None = None
    batch_shares: tuple[BatchShare, ...] = ()
    gpu_seconds: float = 0.0
    queue_seconds: float = 0.0
    energy_millijoules: int = 0
    energy_error_millijoules: int = 0
    energy_source: EnergySource = EnergySource.NONE
    price_id: PriceId
    price_nanos: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord(NewUsage):
    """A usage record as stored; ``charge_time`` is that of the capture, the database's clock.

    ``labels`` are the image's.
    """

    charge_time: datetime
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A usage record with the lines of its price."""

    usage: UsageRecord
    lines: tuple[RatedLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LineRow(RatedLine):
    image_id: ImageId


NOT_CHARGED: Final = Rated(lines=(), total_nanos=0)


async def insert_usage(conn: AsyncConnection, usage: NewUsage, rated: Rated) -> None:
    """Write an image's usage; call it in the transaction that captures or releases its hold.

    ``rated`` is what was charged: already capped at the hold, and ``NOT_CHARGED`` unless the image
    SUCCEEDED.
    """
    assert usage.price_nanos == rated.total_nanos, "the record's price is that of its lines"
    row = asdict(usage) | {"batch_shares": Jsonb([asdict(part) for part in usage.batch_shares])}
    await conn.execute(_QUERIES["insert_usage_record"], row)
    if rated.lines:
        await conn.execute(_QUERIES["insert_usage_lines"], _line_arrays(usage, rated.lines))


async def get_receipts(
    conn: AsyncConnection, *, tenant_id: TenantId, image_ids: Sequence[ImageId]
) -> dict[ImageId, Receipt]:
    """Read the receipts of some images; those that have not ended have none.

    Energy that came after an image was charged is in its receipt once `energy_amendments` has
    found it; what was charged stays.
    """
    parameters = {"tenant_id": tenant_id, "image_ids": list(image_ids)}
    async with conn.cursor(row_factory=typed_row(UsageRecord)) as cursor:
        await cursor.execute(_QUERIES["get_usage_records"], parameters)
        records = await cursor.fetchall()
    async with conn.cursor(row_factory=typed_row(_LineRow)) as cursor:
        await cursor.execute(_QUERIES["get_usage_lines"], parameters)
        lines: dict[ImageId, list[RatedLine]] = {}
        async for line in cursor:
            lines.setdefault(line.image_id, []).append(line)
    return {
        usage.image_id: Receipt(usage=usage, lines=tuple(lines.get(usage.image_id, ())))
        for usage in records
    }


def _line_arrays(usage: NewUsage, lines: Sequence[RatedLine]) -> dict[str, object]:
    return {
        "tenant_id": usage.tenant_id,
        "image_id": usage.image_id,
        "components": [line.component for line in lines],
        "consumed_quantities": [line.consumed_quantity for line in lines],
        "consumed_units": [line.consumed_unit for line in lines],
        "list_unit_prices_nanos": [line.list_unit_price_nanos for line in lines],
        "billed_costs_nanos": [line.billed_cost_nanos for line in lines],
    }
