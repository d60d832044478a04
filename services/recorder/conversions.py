"""Between messages and our own types; what workers and the meter send is checked here."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from math import isfinite
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from metering.energy import Share
from metering.energy_records import CounterReading, EnergySegment, LastReading, SegmentBatch
from metering.energy_source import EnergySource
from metering.errors import SegmentsInvalidError
from metering.power import SegmentKind
from metering.price_document import Tier
from metering.usage_records import BatchShare
from services.internal.v1 import recorder_pb2
from services.jobs.finishes import FinishAnswer
from services.jobs.records import AttemptKey, ClaimedImage, WorkerIdentity
from services.jobs.worker_session_store import Heartbeat, RunningAttempt, SessionTruth
from services.recorder.errors import MessageInvalidError
from services.recorder.finished_attempt import FinishedAttempt
from tenants.ids import GpuId, ImageId, SessionId, TenantId

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_IMAGE_ID: Final = re.compile(r"[0-9a-z]{1,40}")
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# More than any worker has slots and pictures on their way out.
_RUNNING_MAX: Final = 256
_PREVIEW_BYTES_MAX: Final = 64 * 1024
_COUNT_MAX: Final = 1_000_000
_SECONDS_MAX: Final = 7 * 24 * 3600.0
_MESSAGE_LENGTH_MAX: Final = 500
_PRECISION_LENGTH_MAX: Final = 64

_KINDS_BY_WIRE: Final = {
    recorder_pb2.SegmentKind.Value(f"SEGMENT_KIND_{kind.value}"): kind for kind in SegmentKind
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


def heartbeat_of(request: recorder_pb2.AttendRequest) -> Heartbeat:
    """Read a heartbeat.

    Raises:
        MessageInvalidError: it breaks a rule.
    """
    if len(request.progress) > _RUNNING_MAX:
        raise MessageInvalidError(f"progress: at most {_RUNNING_MAX} images")
    return Heartbeat(
        worker=WorkerIdentity(
            session_id=SessionId(_name("session_id", request.session_id)),
            gpu_id=GpuId(_name("gpu_id", request.gpu_id)),
            model=_name("model", request.model),
        ),
        process_id=request.process_id,
        ready=request.ready,
        waiting_tokens=_count("waiting_tokens", request.waiting_tokens),
        batch_slots_free=_count("batch_slots_free", request.batch_slots_free),
        interactive_slots_free=_count("interactive_slots_free", request.interactive_slots_free),
        engine_step_counter=max(request.engine_step_counter, 0),
        running=[_running(progress) for progress in request.progress],
    )


def truth_message(truth: SessionTruth) -> recorder_pb2.AttendResponse:
    """Tell a worker all that it must know."""
    return recorder_pb2.AttendResponse(
        cancel_wishes=_attempt_messages(truth.cancel_wishes),
        invalid_attempts=_attempt_messages(truth.invalid_attempts),
        interactive_images_waiting=truth.interactive_images_waiting,
        alone_images_waiting=truth.alone_images_waiting,
        alone_image_overdue=truth.alone_image_overdue,
        duty_cycle=truth.duty_cycle,
        lease_expire_time=_timestamp(truth.lease_expire_time),
    )


def claim_message(claimed: ClaimedImage) -> recorder_pb2.ClaimImageResponse:
    """Hand out an image."""
    spec = claimed.spec
    return recorder_pb2.ClaimImageResponse(
        attempt=_attempt_message(claimed.attempt),
        spec=recorder_pb2.ImageSpec(
            prompt=spec.prompt,
            negative_prompt=spec.negative_prompt,
            width=spec.width,
            height=spec.height,
            num_inference_steps=spec.num_inference_steps,
            guidance_scale=spec.guidance_scale,
            seed=spec.seed,
            max_sequence_length=spec.max_sequence_length,
            output_format=spec.output_format,
            output_quality=spec.output_quality,
        ),
        interactive=claimed.tier is Tier.INTERACTIVE,
        alone=claimed.alone,
        traceparent=claimed.traceparent,
        previews=claimed.tier is Tier.INTERACTIVE,
    )


def finished_attempt_of(message: recorder_pb2.FinishedAttempt) -> FinishedAttempt:
    """Read how an attempt ended.

    Raises:
        MessageInvalidError: it breaks a rule.
    """
    is_picture = message.outcome == recorder_pb2.ATTEMPT_OUTCOME_PICTURE
    if is_picture and not _SHA256.fullmatch(message.sha256):
        raise MessageInvalidError("sha256: 64 hexadecimal digits")
    if is_picture and message.byte_count < 1:
        raise MessageInvalidError("byte_count: a picture has bytes")
    is_failed = message.outcome == recorder_pb2.ATTEMPT_OUTCOME_FAILED
    if is_failed and not _REASON.fullmatch(message.failure_reason):
        raise MessageInvalidError("failure_reason: capitals")
    return FinishedAttempt(
        key=_attempt_key(message.attempt),
        session_id=SessionId(_name("session_id", message.session_id)),
        gpu_id=GpuId(_name("gpu_id", message.gpu_id)),
        failure_reason=message.failure_reason,
        failure_message=message.failure_message[:_MESSAGE_LENGTH_MAX],
        began_step=message.began_step,
        last_mark_number=max(message.last_mark_number, 0),
        batch_shares=_batch_shares(message.batch_shares),
        gpu_seconds=_seconds("gpu_seconds", message.gpu_seconds),
        queue_seconds=_seconds("queue_seconds", message.queue_seconds),
        sha256=message.sha256,
        byte_count=message.byte_count,
        precision=message.precision[:_PRECISION_LENGTH_MAX],
    )


def answer_message(answer: FinishAnswer) -> recorder_pb2.FinishImageResponse:
    """Tell whether a result was taken."""
    return recorder_pb2.FinishImageResponse(accepted=answer.accepted, state=answer.state)


def segment_batch_of(request: recorder_pb2.RecordSegmentsRequest) -> SegmentBatch:
    """Read a batch of the meter's segments.

    Raises:
        MessageInvalidError: it breaks a rule.
    """
    try:
        return SegmentBatch(
            gpu_id=GpuId(_name("gpu_id", request.gpu_id)),
            epoch=request.epoch,
            segments=[_segment(segment) for segment in request.segments],
            start_reading=_reading(request.start_reading),
            end_reading=_reading(request.end_reading),
            display_name=request.display_name,
        )
    except (SegmentsInvalidError, KeyError, ValueError) as error:
        raise MessageInvalidError(f"segments: {error}") from error


def last_reading_message(reading: LastReading | None) -> recorder_pb2.GetLastReadingResponse:
    """Tell where a GPU's stored timeline ends; nothing set for one never seen."""
    if reading is None:
        return recorder_pb2.GetLastReadingResponse()
    return recorder_pb2.GetLastReadingResponse(
        epoch=reading.epoch,
        last_number=reading.last_number,
        reading=recorder_pb2.CounterReading(
            millijoules=reading.millijoules, read_time=_timestamp(reading.read_time)
        ),
        source=_SOURCES[reading.source],
    )


def image_id_of(text: str) -> ImageId:
    """Read an image's id; it becomes part of a file's name, so its form matters.

    Raises:
        MessageInvalidError: it has another form.
    """
    if not _IMAGE_ID.fullmatch(text):
        raise MessageInvalidError("image_id: letters and digits")
    return ImageId(text)


def _attempt_key(attempt: recorder_pb2.Attempt) -> AttemptKey:
    if attempt.attempt < 1:
        raise MessageInvalidError("attempt: counts from 1")
    try:
        claim_token = UUID(attempt.claim_token)
    except ValueError:
        raise MessageInvalidError("claim_token: a UUID") from None
    return AttemptKey(
        image_id=image_id_of(attempt.image_id), attempt=attempt.attempt, claim_token=claim_token
    )


def _attempt_message(key: AttemptKey) -> recorder_pb2.Attempt:
    return recorder_pb2.Attempt(
        image_id=key.image_id, attempt=key.attempt, claim_token=str(key.claim_token)
    )


def _attempt_messages(keys: Iterable[AttemptKey]) -> list[recorder_pb2.Attempt]:
    return [_attempt_message(key) for key in keys]


def _running(progress: recorder_pb2.ImageProgress) -> RunningAttempt:
    preview = progress.preview if len(progress.preview) <= _PREVIEW_BYTES_MAX else b""
    return RunningAttempt(
        key=_attempt_key(progress.attempt),
        # The number of steps is told once the first of them has begun.
        begun=progress.step_count > 0,
        step=max(progress.step, 0),
        step_count=max(progress.step_count, 0),
        preview=preview or None,
    )


def _batch_shares(shares: Iterable[recorder_pb2.BatchShare]) -> tuple[BatchShare, ...]:
    read = tuple(
        BatchShare(batch_size=share.batch_size, step_count=share.step_count) for share in shares
    )
    if len(read) > _RUNNING_MAX or any(s.batch_size < 1 or s.step_count < 0 for s in read):
        raise MessageInvalidError("batch_shares: sizes from 1, counts from 0")
    return read


def _segment(segment: recorder_pb2.EnergySegment) -> EnergySegment:
    return EnergySegment(
        number=segment.number,
        start_time=_time(segment.start_time),
        end_time=_time(segment.end_time),
        millijoules=segment.millijoules,
        error_millijoules=segment.error_millijoules,
        kind=_KINDS_BY_WIRE[segment.kind],
        source=_SOURCES_BY_WIRE[segment.source],
        tenant_id=TenantId(segment.tenant_id) if segment.tenant_id else None,
        session_id=SessionId(segment.session_id) if segment.session_id else None,
        last_mark_number=segment.last_mark_number,
        shares=tuple(
            Share(
                image_id=ImageId(share.image_id),
                attempt=share.attempt,
                millijoules=share.millijoules,
                error_millijoules=share.error_millijoules,
            )
            for share in segment.shares
        ),
    )


def _reading(reading: recorder_pb2.CounterReading) -> CounterReading:
    return CounterReading(millijoules=reading.millijoules, read_time=_time(reading.read_time))


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _name(field: str, text: str) -> str:
    if not _NAME.fullmatch(text):
        raise MessageInvalidError(f"{field}: 1 to 128 letters, digits, dots, slashes or dashes")
    return text


def _count(field: str, number: int) -> int:
    if not 0 <= number <= _COUNT_MAX:
        raise MessageInvalidError(f"{field}: 0 to {_COUNT_MAX}")
    return number


def _seconds(field: str, seconds: float) -> float:
    if not isfinite(seconds) or not 0 <= seconds <= _SECONDS_MAX:
        raise MessageInvalidError(f"{field}: finite, from 0")
    return seconds
