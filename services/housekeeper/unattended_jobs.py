"""Interactive pictures that nobody waits for any more are cancelled."""

from contextlib import suppress

import structlog

from database.pool import Pool, transaction
from services.jobs.attendance_store import forget_old_attendance, unattended_jobs
from services.jobs.cancellation import cancel_job
from services.jobs.errors import InvalidTransitionError
from services.jobs.image_states import Actor

log = structlog.get_logger()

_JOBS_PER_SWEEP = 500


class UnattendedJobs:
    """Looks for jobs whose last listener left longer than ``unattended_seconds`` ago."""

    def __init__(self, pool: Pool, *, unattended_seconds: float) -> None:
        self._pool = pool
        self._unattended_seconds = unattended_seconds

    async def sweep(self) -> None:
        """Wish the end of what is unattended, and forget what has ended."""
        async with transaction(self._pool) as connection:
            await forget_old_attendance(connection, seconds=self._unattended_seconds)
            jobs = await unattended_jobs(
                connection, seconds=self._unattended_seconds, limit=_JOBS_PER_SWEEP
            )
        for job_id in jobs:
            # It may end by itself between the look and the wish.
            with suppress(InvalidTransitionError):
                async with transaction(self._pool) as connection:
                    await cancel_job(connection, job_id, actor=Actor.HOUSEKEEPER)
                log.info("unattended_job_cancelled", job=job_id)
