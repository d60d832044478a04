"""Closed segments in wall-clock time, as the meter sends them and the database stores them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from metering.energy import Share
from metering.energy_source import EnergySource
from metering.errors import SegmentsInvalidError
from metering.power import SegmentKind
from tenants.ids import GpuId, SessionId, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterReading:
    """What the counter showed at a moment."""

    millijoules: int
    read_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySegment:
    """A piece of a GPU's timeline; numbers count from 1 in an epoch."""

    number: int
    start_time: datetime
    end_time: datetime
    millijoules: int
    # One standard deviation, without the sensor's systematic part.
    error_millijoules: int
    kind: SegmentKind
    source: EnergySource
    tenant_id: TenantId | None
    session_id: SessionId | None
    # The session's marks up to this number lie in segments up to this one.
    last_mark_number: int
    shares: tuple[Share, ...] = ()

    @property
    def hour_start_time(self) -> datetime:
        return hour_of(self.start_time)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentBatch:
    """Consecutive segments of one GPU, epoch and UTC hour, and the counter at both ends.

    Raises:
        SegmentsInvalidError: They are not that.
    """

    gpu_id: GpuId
    epoch: int
    segments: Sequence[EnergySegment]
    start_reading: CounterReading
    end_reading: CounterReading
    display_name: str

    def __post_init__(self) -> None:
        if not self.gpu_id or self.epoch < 1 or not self.segments:
            raise SegmentsInvalidError("a batch names its GPU, its epoch and at least one segment")
        for segment in self.segments:
            _check(segment)
        for before, after in pairwise(self.segments):
            if after.number != before.number + 1 or after.start_time != before.end_time:
                raise SegmentsInvalidError(f"segment {after.number} does not follow its neighbour")
        if len({segment.hour_start_time for segment in self.segments}) > 1:
            raise SegmentsInvalidError("a batch belongs to one UTC hour")
        if self.end_reading.millijoules < self.start_reading.millijoules:
            raise SegmentsInvalidError("the counter of an epoch never falls")


@dataclass(frozen=True, slots=True, kw_only=True)
class LastReading:
    """Where the stored timeline of a GPU ends."""

    epoch: int
    last_number: int
    millijoules: int
    read_time: datetime
    source: EnergySource


def hour_of(moment: datetime) -> datetime:
    """Return the start of the UTC hour."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _check(segment: EnergySegment) -> None:
    number = segment.number
    if number < 1 or segment.millijoules < 0 or segment.error_millijoules < 0:
        raise SegmentsInvalidError(f"segment {number} has a negative figure")
    if any(share.millijoules < 0 or share.error_millijoules < 0 for share in segment.shares):
        raise SegmentsInvalidError(f"segment {number} gives somebody a negative share")
    if segment.end_time < segment.start_time:
        raise SegmentsInvalidError(f"segment {number} ends before it starts")
    if not segment.shares:
        return
    if segment.tenant_id is None or segment.kind is not SegmentKind.WORK:
        raise SegmentsInvalidError(f"segment {number} has shares and is nobody's work")
    if sum(share.millijoules for share in segment.shares) != segment.millijoules:
        raise SegmentsInvalidError(f"the shares of segment {number} do not add up to it")
