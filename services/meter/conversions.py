"""Between messages and our own types; what comes from a worker is checked here and nowhere else."""

import re
from datetime import UTC, datetime
from math import isfinite
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from metering.energy_records import CounterReading, EnergySegment, LastReading, SegmentBatch
from metering.energy_source import EnergySource
from metering.power import AttemptWork, SegmentKind
from metering.presence import Mark
from services.internal.v1 import meter_pb2, recorder_pb2
from services.meter.errors import MarksInvalidError
from tenants.ids import ImageId, SessionId

# An image id has 20 characters, a session's is random too. Their form matters: one that no database
# can store would hold up all segments behind it.
_SESSION_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_IMAGE_ID: Final = re.compile(r"[0-9a-z]{1,40}")
# More images than any batch holds.
_WORK_MAX: Final = 64
# A step of the largest picture is some 10^5 of these units.
_UNITS_MAX: Final = 1e12

_MARK_KINDS: Final = {
    meter_pb2.MARK_KIND_STEP: SegmentKind.WORK,
    meter_pb2.MARK_KIND_TEXT_ENCODE: SegmentKind.WORK,
    meter_pb2.MARK_KIND_VAE_DECODE: SegmentKind.WORK,
    meter_pb2.MARK_KIND_LOAD: SegmentKind.LOAD,
    meter_pb2.MARK_KIND_WARM_UP: SegmentKind.LOAD,
}
_SEGMENT_KINDS: Final = {
    kind: recorder_pb2.SegmentKind.Value(f"SEGMENT_KIND_{kind.value}") for kind in SegmentKind
}
_SOURCES: Final = {
    source: recorder_pb2.ReadingSource.Value(f"READING_SOURCE_{source.value}")
    for source in (
        EnergySource.NVML_COUNTER,
        EnergySource.NVML_POWER,
        EnergySource.RAPL,
        EnergySource.ESTIMATED,
    )
}
_SOURCES_BY_WIRE: Final = {wire: source for source, wire in _SOURCES.items()}


def session_of(request: meter_pb2.MarkRequest) -> SessionId:
    """Return the session that speaks.

    Raises:
        MarksInvalidError: It does not name itself.
    """
    if not _SESSION_ID.fullmatch(request.session_id):
        raise MarksInvalidError("session_id: 1 to 64 letters and digits")
    return SessionId(request.session_id)


def marks_of(request: meter_pb2.MarkRequest) -> list[Mark]:
    """Return the marks of a message.

    Raises:
        MarksInvalidError: One of them cannot be.
    """
    return [_mark(mark) for mark in request.marks]


def segments_request(batch: SegmentBatch) -> recorder_pb2.RecordSegmentsRequest:
    """Return what the recorder is sent."""
    return recorder_pb2.RecordSegmentsRequest(
        gpu_id=batch.gpu_id,
        epoch=batch.epoch,
        segments=[_segment(segment) for segment in batch.segments],
        start_reading=_reading(batch.start_reading),
        end_reading=_reading(batch.end_reading),
        display_name=batch.display_name,
    )


def last_reading_of(response: recorder_pb2.GetLastReadingResponse) -> LastReading | None:
    """Return where the stored timeline ends; None for a device never seen."""
    if not response.epoch:
        return None
    return LastReading(
        epoch=response.epoch,
        last_number=response.last_number,
        millijoules=response.reading.millijoules,
        read_time=response.reading.read_time.ToDatetime(tzinfo=UTC),
        source=_SOURCES_BY_WIRE[response.source],
    )


def _mark(mark: meter_pb2.Mark) -> Mark:
    kind = _MARK_KINDS.get(mark.kind)
    if kind is None or mark.number < 1:
        raise MarksInvalidError("marks: kind and number are needed")
    if not 0 < mark.start_nanos < mark.end_nanos:
        raise MarksInvalidError(f"mark {mark.number}: it must end after it starts")
    if len(mark.work) > _WORK_MAX:
        raise MarksInvalidError(f"mark {mark.number}: at most {_WORK_MAX} images")
    # A load is done for nobody in particular.
    work = tuple(_work(part) for part in mark.work) if kind is SegmentKind.WORK else ()
    return Mark(mark.start_nanos, mark.end_nanos, mark.number, kind, work)


def _work(work: meter_pb2.Work) -> AttemptWork:
    if not _IMAGE_ID.fullmatch(work.image_id) or work.attempt < 1:
        raise MarksInvalidError("work: image and attempt are needed")
    if not isfinite(work.units) or not 0 <= work.units <= _UNITS_MAX:
        raise MarksInvalidError("work: units are finite and not negative")
    return AttemptWork(ImageId(work.image_id), work.attempt, work.units)


def _segment(segment: EnergySegment) -> recorder_pb2.EnergySegment:
    return recorder_pb2.EnergySegment(
        number=segment.number,
        start_time=_timestamp(segment.start_time),
        end_time=_timestamp(segment.end_time),
        millijoules=segment.millijoules,
        error_millijoules=segment.error_millijoules,
        kind=_SEGMENT_KINDS[segment.kind],
        tenant_id=segment.tenant_id or "",
        shares=[
            recorder_pb2.EnergyShare(
                image_id=share.image_id,
                attempt=share.attempt,
                millijoules=share.millijoules,
                error_millijoules=share.error_millijoules,
            )
            for share in segment.shares
        ],
        session_id=segment.session_id or "",
        last_mark_number=segment.last_mark_number,
        source=_SOURCES[segment.source],
    )


def _reading(reading: CounterReading) -> recorder_pb2.CounterReading:
    return recorder_pb2.CounterReading(
        millijoules=reading.millijoules, read_time=_timestamp(reading.read_time)
    )


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
