"""What a worker says of an attempt that it ends."""

from dataclasses import dataclass

from metering.usage_records import BatchShare
from services.jobs.records import AttemptKey
from tenants.ids import GpuId, SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedAttempt:
    """How an attempt ended, as its worker tells it; times in seconds.

    ``sha256`` and ``byte_count`` announce the picture that follows; the failure's fields are empty
    unless it failed.
    """

    key: AttemptKey
    session_id: SessionId
    gpu_id: GpuId
    failure_reason: str
    failure_message: str
    began_step: bool
    last_mark_number: int
    batch_shares: tuple[BatchShare, ...]
    gpu_seconds: float
    queue_seconds: float
    sha256: str
    byte_count: int
    precision: str
