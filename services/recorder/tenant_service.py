"""What a tenant's workers are offered: Attend, ClaimImage, FinishImage.

The tenant is the socket's directory; no message can name another.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import Any, Final, NoReturn

import grpc
import structlog
from grpc import aio

from database.pool import UNREACHABLE_ERRORS, Pool, tenant_transaction
from database.wakeups import Wakeups
from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.jobs import claims, finishes, worker_session_store
from services.jobs.finishes import FinishAnswer
from services.jobs.records import WorkerIdentity
from services.jobs.worker_session_store import Heartbeat, SessionTruth
from services.recorder.conversions import (
    answer_message,
    claim_message,
    finished_attempt_of,
    heartbeat_of,
    truth_message,
)
from services.recorder.errors import (
    MessageInvalidError,
    PictureDamagedError,
    SessionUnknownError,
    SpoolUnusableError,
)
from services.recorder.finishing import Finishing
from services.recorder.refusals import RefusalReason, Refusals
from tenants.ids import SessionId, TenantId

# Progress overwrites its row at most twice a second for each session.
_PROGRESS_SECONDS: Final = 0.5
_SESSIONS_MAX: Final = 1000
_CHUNK_BYTES_MAX: Final = 1 << 20
# What one heartbeat may add: no number that a worker makes up grows beyond what a row holds.
_GARBAGE_PER_BEAT_MAX: Final = 10_000

log = structlog.get_logger()


class TenantService(recorder_pb2_grpc.RecorderServiceServicer):
    """One tenant's side of the recorder."""

    def __init__(
        self,
        *,
        tenant_id: TenantId,
        pool: Pool,
        finishing: Finishing,
        wakeups: Wakeups,
        refusals: Refusals,
        lease_seconds: float,
        unheld_seconds: float,
    ) -> None:
        self._tenant_id = tenant_id
        self._pool = pool
        self._finishing = finishing
        self._wakeups = wakeups
        self._refusals = refusals
        self._lease_seconds = lease_seconds
        self._unheld_seconds = unheld_seconds
        self._workers: dict[SessionId, WorkerIdentity] = {}
        self._garbage_counted: dict[SessionId, int] = {}

    async def Attend(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        request_iterator: AsyncIterator[recorder_pb2.AttendRequest],
        context: aio.ServicerContext[recorder_pb2.AttendRequest, recorder_pb2.AttendResponse],
    ) -> AsyncIterator[recorder_pb2.AttendResponse]:
        """Renew the session's lease with every message and answer with the whole truth.

        It is told between heartbeats too, without a renewal, when it may have changed: a cancel was
        wished, an attempt given up for lost, an interactive image accepted.
        """
        beat: Heartbeat | None = None
        progress_due, search_due = 0.0, monotonic() + self._unheld_seconds
        try:
            with self._wakeups.waiter(self._tenant_id) as changed:
                async for request in _or_none_when_set(request_iterator, changed):
                    if request is None:
                        if beat is not None:
                            yield truth_message(await self._truth_now(beat))
                        continue
                    beat = heartbeat_of(request)
                    writes_progress = monotonic() >= progress_due
                    if writes_progress:
                        progress_due = monotonic() + _PROGRESS_SECONDS
                    truth = await self._beat(beat, writes_progress=writes_progress)
                    self._count_garbage(beat.worker.session_id, request.garbage_tokens)
                    yield truth_message(truth)
                    if monotonic() >= search_due:
                        search_due = monotonic() + self._unheld_seconds
                        await self._take_back_unheld(beat)
            # The stream's regular end is a good-bye; one that breaks keeps its lease until it ends.
            if beat is not None:
                await self._end(beat.worker.session_id)
        except _ANSWERED_ERRORS as error:
            await self._refuse(context, error)

    async def ClaimImage(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        request: recorder_pb2.ClaimImageRequest,
        context: aio.ServicerContext[
            recorder_pb2.ClaimImageRequest, recorder_pb2.ClaimImageResponse
        ],
    ) -> recorder_pb2.ClaimImageResponse:
        """Hand out the tenant's best image; an empty answer when there is none."""
        try:
            worker = self._workers.get(SessionId(request.session_id))
            if worker is None or worker.model != request.model:
                raise SessionUnknownError("the session has not attended with this model")
            async with tenant_transaction(self._pool, self._tenant_id) as conn:
                claimed = await claims.claim_image(
                    conn,
                    worker,
                    tenant_id=self._tenant_id,
                    interactive_only=request.interactive_only,
                    nothing_in_flight=request.nothing_in_flight,
                )
        except _ANSWERED_ERRORS as error:
            await self._refuse(context, error)
        if claimed is None:
            self._note(RefusalReason.EMPTY_CLAIM)
            return recorder_pb2.ClaimImageResponse()
        return claim_message(claimed)

    async def FinishImage(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        request_iterator: AsyncIterator[recorder_pb2.FinishImageRequest],
        context: aio.ServicerContext[
            recorder_pb2.FinishImageRequest, recorder_pb2.FinishImageResponse
        ],
    ) -> recorder_pb2.FinishImageResponse:
        """End an attempt once; whoever ends it again gets the first answer."""
        try:
            answer = await self._finish(request_iterator)
        except _ANSWERED_ERRORS as error:
            await self._refuse(context, error)
        if not answer.accepted:
            self._note(RefusalReason.ATTEMPT_REFUSED)
        return answer_message(answer)

    async def _beat(self, beat: Heartbeat, *, writes_progress: bool) -> SessionTruth:
        async with tenant_transaction(self._pool, self._tenant_id) as conn:
            truth = await worker_session_store.heartbeat(
                conn, beat, tenant_id=self._tenant_id, lease_seconds=self._lease_seconds
            )
        self._remember(beat.worker)
        if writes_progress:
            # Apart from the lease, so that a watcher's row never holds a heartbeat up.
            async with tenant_transaction(self._pool, self._tenant_id) as conn:
                await worker_session_store.write_progress(conn, beat.running)
        return truth

    async def _truth_now(self, beat: Heartbeat) -> SessionTruth:
        async with tenant_transaction(self._pool, self._tenant_id) as conn:
            truth = await worker_session_store.read_truth(conn, beat, tenant_id=self._tenant_id)
        assert truth is not None, "its heartbeat made the session's row"
        return truth

    async def _take_back_unheld(self, beat: Heartbeat) -> None:
        """Queue again what the worker does not know that it holds."""
        async with tenant_transaction(self._pool, self._tenant_id) as conn:
            unheld = await worker_session_store.unheld_attempts(
                conn, beat, tenant_id=self._tenant_id, age_seconds=self._unheld_seconds
            )
        for key in unheld:
            async with tenant_transaction(self._pool, self._tenant_id) as conn:
                await finishes.hand_back(conn, key, began_step=False)
            log.warning("claim_taken_back", tenant=self._tenant_id, image=key.image_id)

    def _remember(self, worker: WorkerIdentity) -> None:
        if worker.session_id not in self._workers and len(self._workers) >= _SESSIONS_MAX:
            # The oldest; a worker that still lives is remembered again at its next heartbeat.
            oldest = next(iter(self._workers))
            del self._workers[oldest]
            self._garbage_counted.pop(oldest, None)
        self._workers[worker.session_id] = worker

    def _count_garbage(self, session_id: SessionId, total: int) -> None:
        """Count what is new; of a session that began under an earlier recorder, what comes now."""
        new = total - self._garbage_counted.setdefault(session_id, total)
        self._garbage_counted[session_id] = total
        if new > 0:
            count = min(new, _GARBAGE_PER_BEAT_MAX)
            self._refusals.note(self._tenant_id, RefusalReason.GARBAGE_TOKEN, count=count)

    async def _end(self, session_id: SessionId) -> None:
        async with tenant_transaction(self._pool, self._tenant_id) as conn:
            await worker_session_store.end_session(conn, session_id)
        self._workers.pop(session_id, None)
        self._garbage_counted.pop(session_id, None)
        log.info("session_ended", tenant=self._tenant_id, session=session_id)

    async def _finish(
        self, requests: AsyncIterator[recorder_pb2.FinishImageRequest]
    ) -> FinishAnswer:
        first = await anext(aiter(requests), None)
        if first is None or not first.HasField("attempt"):
            raise MessageInvalidError("the first message names the attempt")
        attempt = finished_attempt_of(first.attempt)
        match first.attempt.outcome:
            case recorder_pb2.ATTEMPT_OUTCOME_PICTURE:
                return await self._finishing.finish_picture(
                    self._tenant_id, attempt, _chunks(requests)
                )
            case recorder_pb2.ATTEMPT_OUTCOME_FAILED:
                return await self._finishing.fail(self._tenant_id, attempt)
            case recorder_pb2.ATTEMPT_OUTCOME_CANCELLED:
                return await self._finishing.confirm_cancel(self._tenant_id, attempt)
            case recorder_pb2.ATTEMPT_OUTCOME_HANDED_BACK:
                return await self._finishing.hand_back(self._tenant_id, attempt)
            case _:
                raise MessageInvalidError("outcome: say how the attempt ended")

    def _note(self, reason: RefusalReason) -> None:
        self._refusals.note(self._tenant_id, reason)

    async def _refuse(self, context: aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
        """Tell a worker what it can do about an error: mend its message, or try again."""
        code = _CODES.get(type(error), grpc.StatusCode.UNAVAILABLE)
        if (reason := _REASONS.get(type(error))) is not None:
            self._note(reason)
        log.warning(
            "call_refused",
            tenant=self._tenant_id,
            code=code.name,
            error=f"{type(error).__name__}: {error}",
        )
        await context.abort(code, type(error).__name__)


_CODES: Final[Mapping[type[Exception], grpc.StatusCode]] = {
    MessageInvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    PictureDamagedError: grpc.StatusCode.DATA_LOSS,
    SessionUnknownError: grpc.StatusCode.FAILED_PRECONDITION,
    SpoolUnusableError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# What is the worker's doing; a disk that is full is not.
_REASONS: Final[Mapping[type[Exception], RefusalReason]] = {
    MessageInvalidError: RefusalReason.MESSAGE_INVALID,
    PictureDamagedError: RefusalReason.PICTURE_DAMAGED,
    SessionUnknownError: RefusalReason.SESSION_UNKNOWN,
}
_ANSWERED_ERRORS: Final[tuple[type[Exception], ...]] = (*_CODES, OSError, *UNREACHABLE_ERRORS)


async def _or_none_when_set(
    requests: AsyncIterator[recorder_pb2.AttendRequest], event: asyncio.Event
) -> AsyncIterator[recorder_pb2.AttendRequest | None]:
    """Yield each request until there are no more, and None whenever the event was set meanwhile."""
    iterator = aiter(requests)
    reading = asyncio.ensure_future(_next_or_none(iterator))
    waking = asyncio.ensure_future(event.wait())
    try:
        while True:
            await asyncio.wait({reading, waking}, return_when=asyncio.FIRST_COMPLETED)
            if waking.done():
                event.clear()
                waking = asyncio.ensure_future(event.wait())
                yield None
            if reading.done():
                request = reading.result()
                if request is None:
                    return
                reading = asyncio.ensure_future(_next_or_none(iterator))
                yield request
    finally:
        reading.cancel()
        waking.cancel()


async def _next_or_none(
    iterator: AsyncIterator[recorder_pb2.AttendRequest],
) -> recorder_pb2.AttendRequest | None:
    return await anext(iterator, None)


async def _chunks(requests: AsyncIterator[recorder_pb2.FinishImageRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if len(request.chunk) > _CHUNK_BYTES_MAX:
            raise MessageInvalidError(f"chunk: at most {_CHUNK_BYTES_MAX} bytes")
        yield request.chunk
