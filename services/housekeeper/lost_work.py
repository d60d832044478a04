"""Images whose worker is gone are queued again, or ended after the third loss."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from database.pool import Pool, transaction
from services.jobs.image_states import ImageState
from services.jobs.recovery import (
    LostAttempt,
    end_expired_sessions,
    expire_image,
    expired_images,
    lost_attempts,
    recover_lost,
)

log = structlog.get_logger()

_IMAGES_PER_SWEEP = 500
_AFTER_A_LOSS: Final = (ImageState.QUEUED, ImageState.FAILED, ImageState.CANCELLED)
# A sweep that comes later than this was not watching: the machine slept, or the lock was elsewhere.
_GAP_SECONDS = 6.0


class LostWork:
    """One sweep after the other; remembers since when it has watched without a gap."""

    def __init__(
        self, pool: Pool, *, lease_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._watching_since = clock()
        self._last_sweep_time = clock()
        # Since the start of this process; attempts by the state their image has since.
        self.lost_attempts: Counter[ImageState] = Counter(dict.fromkeys(_AFTER_A_LOSS, 0))
        self.lost_session_count = self.expired_count = 0

    async def sweep(self) -> None:
        """End sessions without a lease, then move the images they held, and those out of time."""
        if self._has_watched_for_a_lease():
            await self._end_expired_sessions()
        async with self._pool.connection() as connection:
            lost = await lost_attempts(connection, limit=_IMAGES_PER_SWEEP)
        for attempt in lost:
            await self._recover(attempt)
        await self._expire_images()

    def _has_watched_for_a_lease(self) -> bool:
        """Whether a worker that lives could have renewed its lease while we were looking.

        After a gap (the whole machine slept) every lease looks lost, and none is.
        """
        now = self._clock()
        if now - self._last_sweep_time > _GAP_SECONDS:
            self._watching_since = now
        self._last_sweep_time = now
        return now - self._watching_since >= self._lease_seconds

    async def _end_expired_sessions(self) -> None:
        async with transaction(self._pool) as connection:
            ended = await end_expired_sessions(connection, lease_seconds=self._lease_seconds)
        self.lost_session_count += ended
        if ended:
            log.warning("sessions_lost", count=ended)

    async def _recover(self, attempt: LostAttempt) -> None:
        async with transaction(self._pool) as connection:
            state = await recover_lost(connection, attempt)
        if state is not None:
            self.lost_attempts[state] += 1
        log.warning(
            "image_lost",
            image=attempt.image_id,
            attempt=attempt.attempt,
            began_step=attempt.began_step,
            state=state,
        )

    async def _expire_images(self) -> None:
        async with self._pool.connection() as connection:
            expired = await expired_images(connection, limit=_IMAGES_PER_SWEEP)
        for image in expired:
            async with transaction(self._pool) as connection:
                is_moved = await expire_image(connection, image)
            if is_moved:
                self.expired_count += 1
                log.info("image_expired", image=image.image_id, job=image.job_id)
