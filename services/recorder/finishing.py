"""How an attempt ends: the picture into the spool, its energy joined, then one transaction.

What may take long (bytes, decoding, waiting for the meter) comes before the transaction opens.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

import structlog

from database.pool import Pool, tenant_transaction
from metering import energy_store
from services.jobs import finishes
from services.jobs.charging import DrawnAttempt, DrawnEnergy
from services.jobs.finishes import FinishAnswer
from services.jobs.image_states import ImageState
from services.jobs.picture_store import ExpectedPicture, NewPicture, expected_picture
from services.jobs.records import AttemptKey
from services.recorder.claim_check import check_claim
from services.recorder.errors import MessageInvalidError, PictureRefusedError, SpoolUnusableError
from services.recorder.finish_tally import FinishTally
from services.recorder.finished_attempt import FinishedAttempt
from services.recorder.picture_check import check_picture, content_type_of
from services.recorder.refusals import RefusalReason, Refusals
from services.recorder.spool import Spool
from tenants.ids import TenantId

PICTURE_REFUSED: Final = "PICTURE_INVALID"
_PICTURE_REFUSED_MESSAGE: Final = "The drawn picture was damaged; you were not charged."
_ENERGY_POLL_SECONDS: Final = 0.05
_TAKEN: Final = FinishAnswer(accepted=True, state=ImageState.SUCCEEDED)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finishing:
    """Ends attempts of all tenants; ``picture_arrived`` wakes whoever carries pictures away."""

    pool: Pool
    spool: Spool
    refusals: Refusals
    energy_wait_seconds: float
    picture_bytes_max: int
    picture_pixels_max: int
    picture_arrived: asyncio.Event
    tally: FinishTally = field(default_factory=FinishTally)
    # Two streams that end one attempt would write one file: the second waits and is answered.
    _locks: WeakValueDictionary[AttemptKey, asyncio.Lock] = field(
        default_factory=WeakValueDictionary[AttemptKey, asyncio.Lock]
    )

    async def finish_picture(
        self, tenant_id: TenantId, attempt: FinishedAttempt, chunks: AsyncIterator[bytes]
    ) -> FinishAnswer:
        """RUNNING → SUCCEEDED, or FAILED when the bytes are not the picture asked for.

        Raises:
            MessageInvalidError: the picture is too large to be received.
            PictureDamagedError: other bytes arrived than were announced.
            SpoolUnusableError: the spool's disk is full or fails; the attempt goes on.
        """
        if attempt.byte_count > self.picture_bytes_max:
            raise MessageInvalidError(f"byte_count: at most {self.picture_bytes_max}")
        async with self._locks.setdefault(attempt.key, asyncio.Lock()):
            expected = await self._expected(tenant_id, attempt.key)
            if isinstance(expected, FinishAnswer):
                return expected
            check_claim(attempt, expected)
            name = await self._receive(tenant_id, attempt, chunks)
            return await self._book_spooled(tenant_id, attempt, expected, name)

    async def fail(self, tenant_id: TenantId, attempt: FinishedAttempt) -> FinishAnswer:
        """RUNNING → FAILED, for the engine's reason."""
        return await self._fail(
            tenant_id, attempt, reason=attempt.failure_reason, message=attempt.failure_message
        )

    async def confirm_cancel(self, tenant_id: TenantId, attempt: FinishedAttempt) -> FinishAnswer:
        """RUNNING → CANCELLED."""
        async with tenant_transaction(self.pool, tenant_id) as conn:
            answer = await finishes.confirm_cancel(conn, attempt.key, began_step=attempt.began_step)
        return self.tally.note(answer)

    async def hand_back(self, tenant_id: TenantId, attempt: FinishedAttempt) -> FinishAnswer:
        """RUNNING → QUEUED, for another worker."""
        async with tenant_transaction(self.pool, tenant_id) as conn:
            answer = await finishes.hand_back(conn, attempt.key, began_step=attempt.began_step)
        return self.tally.note(answer)

    async def _expected(
        self, tenant_id: TenantId, key: AttemptKey
    ) -> ExpectedPicture | FinishAnswer:
        """What must arrive; the answer at once for an attempt that has ended or never was."""
        async with tenant_transaction(self.pool, tenant_id) as conn:
            expected = await expected_picture(conn, key)
            return expected or await finishes.late_answer(conn, key)

    async def _receive(
        self, tenant_id: TenantId, attempt: FinishedAttempt, chunks: AsyncIterator[bytes]
    ) -> str:
        try:
            return await self.spool.receive(
                attempt.key, chunks, byte_count=attempt.byte_count, sha256=attempt.sha256
            )
        except OSError as error:
            self.tally.spool_failures += 1
            log.exception(
                "spool_unusable",
                tenant=tenant_id,
                image=attempt.key.image_id,
                reason=error.strerror,
                bytes_wanted=attempt.byte_count,
                bytes_free=self.spool.bytes_free(),
            )
            raise SpoolUnusableError(error.strerror) from error

    async def _book_spooled(
        self,
        tenant_id: TenantId,
        attempt: FinishedAttempt,
        expected: ExpectedPicture,
        name: str,
    ) -> FinishAnswer:
        try:
            await asyncio.to_thread(
                check_picture, self.spool.path(name), expected, pixels_max=self.picture_pixels_max
            )
        except PictureRefusedError as error:
            log.warning("picture_refused", tenant=tenant_id, reason=str(error))
            self.refusals.note(tenant_id, RefusalReason.PICTURE_INVALID)
            self.spool.remove(name)
            return await self._fail(
                tenant_id, attempt, reason=PICTURE_REFUSED, message=_PICTURE_REFUSED_MESSAGE
            )
        await self._wait_for_energy(tenant_id, attempt)
        answer = await self._succeed(tenant_id, attempt, expected, name)
        if answer == _TAKEN:
            self.picture_arrived.set()
        else:
            # Only here: after an error nobody knows whether the transaction was committed, and
            # then the file must stay.
            self.spool.remove(name)
        return answer

    async def _wait_for_energy(self, tenant_id: TenantId, attempt: FinishedAttempt) -> None:
        """Wait for the segment of the last mark; without it the receipt says PARTIAL."""
        if attempt.last_mark_number == 0:
            return
        deadline = monotonic() + self.energy_wait_seconds
        while not await self._has_energy(tenant_id, attempt):
            if monotonic() >= deadline:
                log.warning("energy_late", tenant=tenant_id, image=attempt.key.image_id)
                return
            await asyncio.sleep(_ENERGY_POLL_SECONDS)

    async def _has_energy(self, tenant_id: TenantId, attempt: FinishedAttempt) -> bool:
        async with tenant_transaction(self.pool, tenant_id) as conn:
            return await energy_store.has_mark(
                conn,
                gpu_id=attempt.gpu_id,
                session_id=attempt.session_id,
                last_mark_number=attempt.last_mark_number,
            )

    async def _succeed(
        self,
        tenant_id: TenantId,
        attempt: FinishedAttempt,
        expected: ExpectedPicture,
        name: str,
    ) -> FinishAnswer:
        async with tenant_transaction(self.pool, tenant_id) as conn:
            energy = await energy_store.image_energy(
                conn,
                image_id=attempt.key.image_id,
                attempt=attempt.key.attempt,
                gpu_id=attempt.gpu_id,
                session_id=attempt.session_id,
                last_mark_number=attempt.last_mark_number,
            )
            drawn = DrawnAttempt(
                key=attempt.key,
                session_id=attempt.session_id,
                gpu_id=attempt.gpu_id,
                precision=attempt.precision,
                batch_shares=attempt.batch_shares,
                gpu_seconds=attempt.gpu_seconds,
                queue_seconds=attempt.queue_seconds,
                last_mark_number=attempt.last_mark_number,
                energy=DrawnEnergy(
                    millijoules=energy.millijoules,
                    error_millijoules=energy.error_millijoules,
                    source=energy.source,
                ),
            )
            picture = NewPicture(
                sha256=attempt.sha256,
                byte_count=attempt.byte_count,
                content_type=content_type_of(expected.output_format),
                width=expected.width,
                height=expected.height,
                spool_name=name,
            )
            answer = await finishes.succeed_image(conn, drawn, picture)
        log.info(
            "image_finished",
            tenant=tenant_id,
            image=attempt.key.image_id,
            attempt=attempt.key.attempt,
            accepted=answer.accepted,
            state=answer.state,
            gpu_seconds=round(attempt.gpu_seconds, 3),
            joules=energy.millijoules / 1000,
            energy_source=energy.source,
        )
        return self.tally.note_picture(answer, energy.source)

    async def _fail(
        self, tenant_id: TenantId, attempt: FinishedAttempt, *, reason: str, message: str
    ) -> FinishAnswer:
        async with tenant_transaction(self.pool, tenant_id) as conn:
            answer = await finishes.fail_image(
                conn,
                attempt.key,
                began_step=attempt.began_step,
                failure_reason=reason,
                failure_message=message,
            )
        return self.tally.note(answer)
