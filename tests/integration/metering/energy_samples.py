"""Segments of one GPU as a meter would send them, a second each."""

from datetime import UTC, datetime, timedelta

from psycopg import AsyncConnection

from metering.energy import Share
from metering.energy_records import CounterReading, EnergySegment, SegmentBatch
from metering.energy_source import EnergySource
from metering.power import SegmentKind
from tenants.ids import GpuId, ImageId, SessionId, TenantId

HOUR = datetime(2031, 5, 1, 10, tzinfo=UTC)
GPU = GpuId("gpu-of-store")
ACME = TenantId("acme-of-store")
SESSION = SessionId("session-of-store")
CAT = ImageId("cat-of-store")


def segment(
    number: int,
    kind: SegmentKind,
    millijoules: int,
    *,
    last_mark_number: int = 0,
    shares: tuple[Share, ...] = (),
    hour: datetime = HOUR,
) -> EnergySegment:
    """One second of a timeline."""
    is_worker_there = kind not in (SegmentKind.FREE, SegmentKind.UNKNOWN)
    return EnergySegment(
        number=number,
        start_time=hour + timedelta(seconds=number - 1),
        end_time=hour + timedelta(seconds=number),
        millijoules=millijoules,
        error_millijoules=3,
        kind=kind,
        source=EnergySource.NVML_COUNTER,
        tenant_id=ACME if is_worker_there else None,
        session_id=SESSION if is_worker_there else None,
        last_mark_number=last_mark_number,
        shares=shares,
    )


def share(millijoules: int, image: str = CAT, attempt: int = 1, *, error: int = 3) -> Share:
    return Share(
        image_id=ImageId(image),
        attempt=attempt,
        millijoules=millijoules,
        error_millijoules=error,
    )


def batch(*segments: EnergySegment, start_millijoules: int = 0, epoch: int = 1) -> SegmentBatch:
    return SegmentBatch(
        gpu_id=GPU,
        epoch=epoch,
        segments=segments,
        start_reading=CounterReading(
            millijoules=start_millijoules, read_time=segments[0].start_time
        ),
        end_reading=CounterReading(
            millijoules=start_millijoules + sum(part.millijoules for part in segments),
            read_time=segments[-1].end_time,
        ),
        display_name="NVIDIA H200",
    )


async def have_attempt(
    connection: AsyncConnection,
    image: str,
    outcome: str | None,
    *,
    claim_time: datetime = HOUR,
    attempt: int = 1,
) -> None:
    """An attempt without the job it belongs to."""
    await connection.execute("SET LOCAL session_replication_role = replica")
    await connection.execute(
        "INSERT INTO attempts (tenant_id, image_id, attempt, job_id, session_id, claim_token,"
        " gpu_id, model, claim_time, outcome, end_time)"
        " VALUES (%s, %s, %s, 'job', %s, gen_random_uuid(), %s, 'mini', %s, %s,"
        " CASE WHEN %s::text IS NULL THEN NULL ELSE now() END)",
        (ACME, image, attempt, SESSION, GPU, claim_time, outcome, outcome),
    )
    await connection.execute("SET LOCAL session_replication_role = origin")
