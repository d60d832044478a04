"""Segments that the recorder has not acknowledged yet, in the order of their numbers."""

from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from metering.energy import Reading, Segment
from metering.energy_records import CounterReading, EnergySegment, SegmentBatch
from metering.energy_source import EnergySource
from tenants.ids import GpuId

# About 100 kB on the wire.
_BATCH_SEGMENTS_MAX: Final = 500
_EPOCH_OF_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Pending(NamedTuple):
    epoch: int
    start_edge: Reading
    start: CounterReading
    end: CounterReading
    segment: EnergySegment


class Outbox:
    """What is to be sent of one GPU.

    Nothing is dropped: while the recorder is away, a busy GPU adds some ten segments per second of
    about a kilobyte each, so a day without a recorder is a gigabyte.
    """

    def __init__(self, gpu_id: GpuId, *, source: EnergySource, display_name: str) -> None:
        self._gpu_id = gpu_id
        self._source = source
        self._display_name = display_name
        self._pending: deque[_Pending] = deque()
        self._epoch = 0
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, epoch: int, segments: Iterable[Segment], *, wall_offset_nanos: int) -> None:
        """Number the segments of an epoch and put them in wall-clock time."""
        if epoch != self._epoch:
            self._epoch, self._last_number = epoch, 0
        for segment in segments:
            self._last_number += 1
            start = _reading(segment.start, wall_offset_nanos)
            end = _reading(segment.end, wall_offset_nanos)
            record = EnergySegment(
                number=self._last_number,
                start_time=start.read_time,
                end_time=end.read_time,
                millijoules=segment.millijoules,
                error_millijoules=segment.error_millijoules,
                kind=segment.kind,
                source=self._source,
                tenant_id=segment.tenant_id,
                session_id=segment.session_id,
                last_mark_number=segment.last_mark_number,
                shares=segment.shares,
            )
            self._pending.append(_Pending(epoch, segment.start, start, end, record))

    def next_batch(self) -> SegmentBatch | None:
        """Return the oldest segments that may travel together; they stay until acknowledged."""
        if not self._pending:
            return None
        first = self._pending[0]
        batch: list[_Pending] = []
        for pending in self._pending:
            is_fit = (
                pending.epoch == first.epoch
                and pending.segment.hour_start_time == first.segment.hour_start_time
            )
            if not is_fit or len(batch) == _BATCH_SEGMENTS_MAX:
                break
            batch.append(pending)
        return SegmentBatch(
            gpu_id=self._gpu_id,
            epoch=first.epoch,
            segments=[pending.segment for pending in batch],
            start_reading=first.start,
            end_reading=batch[-1].end,
            display_name=self._display_name,
        )

    def acknowledge(self, epoch: int, last_number: int) -> None:
        """Drop what is stored."""
        while self._pending:
            first = self._pending[0]
            if first.epoch != epoch or first.segment.number > last_number:
                return
            self._pending.popleft()

    def abandon(self) -> Reading | None:
        """Drop everything; return the edge up to which the recorder has the timeline."""
        edge = self._pending[0].start_edge if self._pending else None
        self._pending.clear()
        return edge


def _reading(edge: Reading, wall_offset_nanos: int) -> CounterReading:
    microseconds = (edge.nanos + wall_offset_nanos) // 1000
    return CounterReading(
        millijoules=edge.millijoules,
        read_time=_EPOCH_OF_UNIX + timedelta(microseconds=microseconds),
    )
