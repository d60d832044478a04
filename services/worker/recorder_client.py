"""The recorder's calls that a worker makes; the only place here that knows the wire."""

import hashlib
from collections.abc import Iterator
from typing import Final

import grpc

from services.engine.image_spec import AttemptKey, ImageSpec
from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.transport.callees import Callee
from services.transport.channels import RenewedChannel, open_channel
from services.worker.errors import RecorderUnavailableError, ResultRefusedError
from services.worker.work import (
    Beat,
    ClaimedWork,
    HeldAttempt,
    HeldProgress,
    Outcome,
    Result,
    Truth,
)

_CALL_SECONDS: Final = 10.0
# Finishing waits up to two seconds for the meter, and the picture has to be written safely.
_FINISH_SECONDS: Final = 60.0
_CHUNK_BYTES: Final = 1 << 20
_RECONNECTING: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
# What may pass by itself; everything else says that this very call will never be taken.
_PASSING_CODES: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
    }
)
_OUTCOMES: Final = {
    Outcome.PICTURE: recorder_pb2.ATTEMPT_OUTCOME_PICTURE,
    Outcome.FAILED: recorder_pb2.ATTEMPT_OUTCOME_FAILED,
    Outcome.CANCELLED: recorder_pb2.ATTEMPT_OUTCOME_CANCELLED,
    Outcome.HANDED_BACK: recorder_pb2.ATTEMPT_OUTCOME_HANDED_BACK,
}


class RecorderClient:
    """A connection to the recorder for one session of one worker."""

    def __init__(
        self,
        callee: Callee,
        *,
        session_id: str,
        model: str,
        gpu_id: str,
        process_id: int,
        precision: str,
    ) -> None:
        self._session_id = session_id
        self._model = model
        self._gpu_id = gpu_id
        self._process_id = process_id
        self._precision = precision
        self._channel = RenewedChannel(callee, lambda to: open_channel(to, _RECONNECTING))

    def close(self) -> None:
        for channel in self._channel.opened():
            channel.close()

    @property
    def _stub(self) -> recorder_pb2_grpc.RecorderServiceStub:
        return recorder_pb2_grpc.RecorderServiceStub(self._channel.now())

    def attend(self, beats: Iterator[Beat]) -> Iterator[Truth]:
        """Send heartbeats, yield the truth after each; ends when ``beats`` does.

        Raises:
            RecorderUnavailableError: the stream broke; open a new one.
        """
        try:
            for response in self._stub.Attend(self._attend_request(beat) for beat in beats):
                yield _truth(response)
        except grpc.RpcError as error:
            raise RecorderUnavailableError(_reason(error)) from error

    def claim(self, *, interactive_only: bool, nothing_in_flight: bool) -> ClaimedWork | None:
        """Ask for the tenant's best image; None when there is nothing to claim.

        Raises:
            RecorderUnavailableError: it did not answer; what it may have handed out comes back
                as an image that this session holds without knowing, until its lease is over.
        """
        request = recorder_pb2.ClaimImageRequest(
            session_id=self._session_id,
            model=self._model,
            interactive_only=interactive_only,
            nothing_in_flight=nothing_in_flight,
        )
        try:
            response = self._stub.ClaimImage(request, timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise RecorderUnavailableError(_reason(error)) from error
        return _claimed(response) if response.HasField("attempt") else None

    def finish(self, result: Result) -> bool:
        """Tell how an attempt ended; whether the recorder took it.

        Raises:
            RecorderUnavailableError: it did not answer; sending again is harmless.
            ResultRefusedError: it will not take this result however often it is sent.
        """
        try:
            response = self._stub.FinishImage(
                self._finish_requests(result), timeout=_FINISH_SECONDS
            )
        except grpc.RpcError as error:
            if _code(error) in _PASSING_CODES:
                raise RecorderUnavailableError(_reason(error)) from error
            raise ResultRefusedError(_reason(error)) from error
        return response.accepted

    def _attend_request(self, beat: Beat) -> recorder_pb2.AttendRequest:
        return recorder_pb2.AttendRequest(
            session_id=self._session_id,
            model=self._model,
            gpu_id=self._gpu_id,
            process_id=self._process_id,
            ready=beat.ready,
            batch_slots_free=beat.batch_slots_free,
            interactive_slots_free=beat.interactive_slots_free,
            waiting_tokens=beat.waiting_tokens,
            engine_step_counter=beat.engine_step_counter,
            garbage_tokens=beat.garbage_tokens,
            progress=[_progress(progress) for progress in beat.progress],
        )

    def _finish_requests(self, result: Result) -> Iterator[recorder_pb2.FinishImageRequest]:
        yield recorder_pb2.FinishImageRequest(
            attempt=recorder_pb2.FinishedAttempt(
                attempt=_attempt(result.held),
                outcome=_OUTCOMES[result.outcome],
                failure_reason=result.failure_reason,
                failure_message=result.failure_message,
                began_step=result.began_step,
                gpu_id=self._gpu_id,
                last_mark_number=result.last_mark_number,
                batch_shares=[
                    recorder_pb2.BatchShare(batch_size=size, step_count=steps)
                    for size, steps in result.batch_shares
                ],
                gpu_seconds=result.gpu_seconds,
                queue_seconds=result.queue_seconds,
                sha256=hashlib.sha256(result.picture).hexdigest() if result.picture else "",
                byte_count=len(result.picture),
                content_type=result.content_type,
                precision=self._precision,
                session_id=self._session_id,
            )
        )
        for start in range(0, len(result.picture), _CHUNK_BYTES):
            yield recorder_pb2.FinishImageRequest(
                chunk=result.picture[start : start + _CHUNK_BYTES]
            )


def _attempt(held: HeldAttempt) -> recorder_pb2.Attempt:
    return recorder_pb2.Attempt(
        image_id=held.image_id, attempt=held.attempt, claim_token=held.claim_token
    )


def _progress(progress: HeldProgress) -> recorder_pb2.ImageProgress:
    return recorder_pb2.ImageProgress(
        attempt=_attempt(progress.held),
        step=progress.step,
        step_count=progress.step_count,
        preview=progress.preview,
    )


def _claimed(response: recorder_pb2.ClaimImageResponse) -> ClaimedWork:
    spec = response.spec
    return ClaimedWork(
        held=HeldAttempt(
            image_id=response.attempt.image_id,
            attempt=response.attempt.attempt,
            claim_token=response.attempt.claim_token,
        ),
        spec=ImageSpec(
            prompt=spec.prompt,
            negative_prompt=spec.negative_prompt,
            width=spec.width,
            height=spec.height,
            num_inference_steps=spec.num_inference_steps,
            guidance_scale=spec.guidance_scale,
            seed=spec.seed,
            max_sequence_length=spec.max_sequence_length,
        ),
        output_format=spec.output_format,
        output_quality=spec.output_quality,
        interactive=response.interactive,
        alone=response.alone,
        previews=response.previews,
    )


def _truth(response: recorder_pb2.AttendResponse) -> Truth:
    return Truth(
        cancel_wishes=frozenset(
            AttemptKey(attempt.image_id, attempt.attempt) for attempt in response.cancel_wishes
        ),
        invalid_attempts=frozenset(
            AttemptKey(attempt.image_id, attempt.attempt) for attempt in response.invalid_attempts
        ),
        interactive_images_waiting=response.interactive_images_waiting,
        alone_images_waiting=response.alone_images_waiting,
        alone_image_overdue=response.alone_image_overdue,
        drain=response.drain,
        # Unset on the wire is 0, which would stop the engine for good.
        duty_cycle=response.duty_cycle or 1.0,
    )


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    return error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN


def _reason(error: grpc.RpcError) -> str:
    details = error.details() if isinstance(error, grpc.Call) else str(error)
    return f"{_code(error).name}: {details}"
