"""What a token does: wait for a slot, claim, draw, and send the picture on its way."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from threading import BoundedSemaphore, Event
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from services.engine.drawn import Drawn, Progress
from services.engine.engine import Engine
from services.engine.errors import EngineError, ImageCancelledError, ImageFailedError
from services.worker.encoding import encode
from services.worker.errors import RecorderUnavailableError, ResultRefusedError
from services.worker.in_flight import CancelReason, InFlight
from services.worker.recorder_client import RecorderClient
from services.worker.slots import Slot, Slots, freed_afterwards
from services.worker.work import ClaimedWork, HeldAttempt, Outcome, Result

_RETRY_SECONDS: Final = 0.25
# A recorder whose disk is full is asked less and less often.
_RETRY_SECONDS_MAX: Final = 5.0
# Results that wait for the recorder, pictures in memory among them. When there are so many, tokens
# wait in their threads and no new image is claimed: what nobody takes need not be drawn.
_RESULTS_WAITING_MAX: Final = 16
_PREVIEW_QUALITY: Final = 90

log = structlog.get_logger()


class Renderer:
    """Turns tokens into finished images; called from Celery's threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        recorder: RecorderClient,
        slots: Slots,
        in_flight: InFlight,
        finishers: Executor,
        hasten_heartbeat: Callable[[], None],
        giving_up: Event,
    ) -> None:
        self._engine = engine
        self._recorder = recorder
        self._slots = slots
        self._in_flight = in_flight
        self._finishers = finishers
        self._hasten_heartbeat = hasten_heartbeat
        self._giving_up = giving_up
        self._results_waiting = BoundedSemaphore(_RESULTS_WAITING_MAX)

    def render_image(self) -> None:
        """Spend one token: at most one image, none when there is nothing to claim.

        Returns when the image's pixels have left the GPU; encoding and finishing go on elsewhere,
        so that the token's thread serves the next image.
        """
        while (slot := self._slots.wait_for_slot()) is not None:
            work = self._claim(slot)
            if work is not None:
                self._draw(work, slot)
                return
            if slot is Slot.BATCH:
                return
            # Somebody else took the interactive image: this token is still worth an image.

    def _claim(self, slot: Slot) -> ClaimedWork | None:
        work = None
        try:
            work = self._claim_when_recorder_answers(slot)
        finally:
            if work is None:
                self._slots.refused(slot)
        if work is not None:
            self._in_flight.add(work.held)
            self._slots.claimed(alone=work.alone)
        return work

    def _claim_when_recorder_answers(self, slot: Slot) -> ClaimedWork | None:
        while not self._giving_up.is_set():
            try:
                return self._recorder.claim(
                    interactive_only=slot is Slot.INTERACTIVE,
                    nothing_in_flight=self._slots.nothing_in_flight,
                )
            except RecorderUnavailableError as error:
                log.warning("claim_postponed", reason=str(error))
                self._giving_up.wait(_RETRY_SECONDS)
        return None

    def _draw(self, work: ClaimedWork, slot: Slot) -> None:
        held = work.held
        try:
            with freed_afterwards(self._slots, slot, alone=work.alone):
                drawn = self._engine.submit(
                    held.key,
                    work.spec,
                    interactive=work.interactive,
                    alone=work.alone,
                    progress=self._note_progress,
                    previews=work.previews,
                ).result()
        except ImageCancelledError as error:
            result = self._cancelled(held, began_step=error.began_step)
            if result is None:
                self._in_flight.remove(held.key)
            else:
                self._send(result)
        except ImageFailedError as error:
            self._send(
                Result(
                    held=held,
                    outcome=Outcome.FAILED,
                    began_step=error.began_step,
                    failure_reason=error.reason,
                    failure_message=error.message,
                )
            )
        except EngineError:
            self._send(Result(held=held, outcome=Outcome.HANDED_BACK, began_step=False))
        else:
            self._results_waiting.acquire()
            self._finishers.submit(self._encode_and_finish, work, drawn)

    def _note_progress(self, progress: Progress) -> None:
        is_first = self._in_flight.note_progress(
            progress.key,
            step=progress.step,
            step_count=progress.num_inference_steps,
            preview=b"" if progress.preview is None else _preview_file(progress.preview),
        )
        # The recorder should know soon that this attempt counts, in case it kills us.
        if is_first or progress.preview is not None:
            self._hasten_heartbeat()

    def _cancelled(self, held: HeldAttempt, *, began_step: bool) -> Result | None:
        """What the recorder is told; nothing of an attempt that is not ours any more."""
        reason = self._in_flight.cancel_reason(held.key)
        log.info(
            "image_stopped",
            image=held.image_id,
            attempt=held.attempt,
            reason=reason.name if reason else "",
            steps_since=self._in_flight.steps_since_cancel(held.key),
        )
        match reason:
            case CancelReason.WISHED:
                return Result(held=held, outcome=Outcome.CANCELLED, began_step=began_step)
            case CancelReason.INVALID:
                return None
            case _:
                return Result(held=held, outcome=Outcome.HANDED_BACK, began_step=began_step)

    def _send(self, result: Result) -> None:
        self._results_waiting.acquire()
        self._finishers.submit(self._finish_and_forget, result)

    def _encode_and_finish(self, work: ClaimedWork, drawn: Drawn) -> None:
        try:
            picture = encode(
                drawn.pixels, output_format=work.output_format, output_quality=work.output_quality
            )
            result = Result(
                held=work.held,
                outcome=Outcome.PICTURE,
                began_step=drawn.began_step,
                last_mark_number=drawn.last_mark_number,
                batch_shares=sorted(Counter(drawn.batch_sizes).items()),
                gpu_seconds=drawn.gpu_seconds,
                queue_seconds=drawn.queue_seconds,
                picture=picture.content,
                content_type=picture.content_type,
            )
        except Exception:
            log.exception("encoding_failed", image=work.held.image_id)
            result = Result(
                held=work.held,
                outcome=Outcome.FAILED,
                began_step=drawn.began_step,
                failure_reason="ENCODING_FAILED",
                failure_message=f"The picture could not be written as {work.output_format}.",
            )
        self._finish_and_forget(result)

    def _finish_and_forget(self, result: Result) -> None:
        """Tell the recorder until it answers; a picture is never drawn twice for want of trying."""
        retry_seconds = _RETRY_SECONDS
        try:
            while not self._is_over(result.held):
                try:
                    accepted = self._recorder.finish(result)
                except RecorderUnavailableError as error:
                    log.warning("finish_postponed", reason=str(error))
                    self._giving_up.wait(retry_seconds)
                    retry_seconds = min(2 * retry_seconds, _RETRY_SECONDS_MAX)
                else:
                    log.info(
                        "image_ended",
                        image=result.held.image_id,
                        attempt=result.held.attempt,
                        outcome=result.outcome,
                        accepted=accepted,
                        gpu_seconds=round(result.gpu_seconds, 3),
                    )
                    return
        except ResultRefusedError as error:
            # The lease's end brings the image back: another attempt may do better.
            log.exception("result_refused", image=result.held.image_id, reason=str(error))
        finally:
            self._in_flight.remove(result.held.key)
            self._results_waiting.release()

    def _is_over(self, held: HeldAttempt) -> bool:
        invalid = self._in_flight.cancel_reason(held.key) is CancelReason.INVALID
        return invalid or self._giving_up.is_set()


def _preview_file(pixels: NDArray[np.uint8]) -> bytes:
    return encode(pixels, output_format="PNG", output_quality=_PREVIEW_QUALITY).content
