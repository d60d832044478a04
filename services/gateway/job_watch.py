"""WatchJob: a job's news in order and without gaps, from the table of its events.

The resume token is the number of the newest event that was sent, so any replica can go on.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from atelier.v1 import image_pb2, job_service_pb2
from database.pool import Connection, Pool, tenant_transaction
from database.wakeups import Wakeups
from metering.usage_records import Receipt, get_receipts
from services.gateway import resource_names
from services.gateway.draining import Drain
from services.gateway.errors import not_found
from services.gateway.job_messages import image_message_at, named_progress_message
from services.gateway.orders import job_messages
from services.gateway.page_tokens import PageTokens
from services.gateway.scopes import JobName
from services.jobs import job_store
from services.jobs.image_states import TERMINAL_JOB_STATES, ImageState
from services.jobs.records import Image, ImageProgress, Job, JobEvent
from tenants.ids import ImageId

_EVENTS_PER_LOOK: Final = 200
# Progress is written at most twice a second for each image, and nobody is notified of it.
_LOOK_SECONDS_RUNNING: Final = 0.5
# A notification comes before; a lost one costs no more than this.
_LOOK_SECONDS_QUIET: Final = 2.0
# How old the forecast may be that a watcher was told last.
_FORECAST_SECONDS: Final = 5.0
# A burst of notifications is answered with one look.
_BURST_SECONDS: Final = 0.03


class JobWatch:
    """Follows jobs."""

    def __init__(
        self,
        *,
        pool: Pool,
        wakeups: Wakeups,
        tokens: PageTokens,
        drain: Drain,
        keep_alive_seconds: float,
    ) -> None:
        self._pool = pool
        self._wakeups = wakeups
        self._tokens = tokens
        self._drain = drain
        self._keep_alive_seconds = keep_alive_seconds

    async def follow(
        self, watched: JobName, *, resume_token: str, previews: bool
    ) -> AsyncGenerator[job_service_pb2.WatchJobResponse]:
        """Yield a job's news until it has ended and all of them are sent.

        Raises:
            CallRefusedError: NOT_FOUND, PAGE_TOKEN_MISMATCH, or DRAINING when the gateway stops.
        """
        sent = _Sent(event_number=self._first_event_number(watched, resume_token))
        with self._wakeups.waiter(watched.job_id) as news:
            while True:
                self._drain.refuse_if_begun()
                news.clear()
                look = await self._look(watched, sent)
                for response in self._responses(look, sent, previews=previews):
                    response.resume_token = self._token(watched, sent.event_number)
                    yield response
                    sent.sent_seconds = time.monotonic()
                if look.caught_up and look.job.state in TERMINAL_JOB_STATES:
                    return
                if look.caught_up:
                    await _wait(news, _seconds_until_next_look(look.job))

    def _first_event_number(self, watched: JobName, resume_token: str) -> int:
        if not resume_token:
            return 0
        position = self._tokens.read(resume_token, query=_query(watched), field="resume_token")
        return int(position[0])

    def _token(self, watched: JobName, event_number: int) -> str:
        return self._tokens.write([str(event_number)], query=_query(watched))

    async def _look(self, watched: JobName, sent: "_Sent") -> "_Look":
        async with tenant_transaction(self._pool, watched.tenant_id) as conn:
            # The job comes first: what it counts is then not newer than the events read after it.
            job = await job_store.get_job(conn, tenant_id=watched.tenant_id, job_id=watched.job_id)
            if job is None:
                raise not_found(watched.text)
            events = await _events(conn, job, after=sent.event_number)
            return await _looked(conn, job, events, sent)

    def _responses(
        self, look: "_Look", sent: "_Sent", *, previews: bool
    ) -> Iterator[job_service_pb2.WatchJobResponse]:
        if sent.job is None:
            yield _job_news(look, sent)
        for event in look.events:
            sent.event_number = event.event_number
            if event.image_id in look.images and event.image_state is not None:
                yield job_service_pb2.WatchJobResponse(image=look.image(event))
        for progress in look.progress:
            sent.progress_time = progress.update_time
            yield job_service_pb2.WatchJobResponse(
                progress=_progress_message(look.job, progress, previews=previews)
            )
        if look.caught_up and look.message is not None and look.message != sent.message:
            yield _job_news(look, sent)
        if time.monotonic() - sent.sent_seconds >= self._keep_alive_seconds:
            yield job_service_pb2.WatchJobResponse(keep_alive=job_service_pb2.KeepAlive())


@dataclass(slots=True, kw_only=True)
class _Sent:
    """How far one stream is."""

    event_number: int
    job: Job | None = None
    progress_time: datetime | None = None
    sent_seconds: float = field(default_factory=time.monotonic)
    message: job_service_pb2.Job | None = None
    job_seconds: float = 0.0

    def note_job(self, job: Job, message: job_service_pb2.Job | None) -> None:
        """Note what was told of the job, and when."""
        self.job, self.message, self.job_seconds = job, message, time.monotonic()

    def is_current(self, job: Job) -> bool:
        """Whether nothing new is to be told of the job: neither of itself nor of its forecast."""
        return job == self.job and time.monotonic() - self.job_seconds < _FORECAST_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look at the database found."""

    job: Job
    # None when what was sent last is still current.
    message: job_service_pb2.Job | None
    events: list[JobEvent]
    images: dict[ImageId, Image]
    receipts: dict[ImageId, Receipt]
    progress: list[ImageProgress]
    # Every event that the job's row counts is in this look or was sent before.
    caught_up: bool

    def image(self, event: JobEvent) -> image_pb2.Image:
        """Write the image of an event, in the state the event tells of."""
        assert event.image_id is not None, "only events of images are asked for their image"
        assert event.image_state is not None, "an event of an image has its state"
        return image_message_at(
            self.images[event.image_id],
            event.image_state,
            receipt=self.receipts.get(event.image_id),
        )


async def _events(conn: Connection, job: Job, *, after: int) -> list[JobEvent]:
    """Read the next events that the job's row, as it was read, knows of."""
    events = await job_store.events_after(
        conn,
        tenant_id=job.tenant_id,
        job_id=job.job_id,
        event_number=after,
        limit=_EVENTS_PER_LOOK,
    )
    return [event for event in events if event.event_number <= job.last_event_number]


async def _looked(conn: Connection, job: Job, events: list[JobEvent], sent: _Sent) -> _Look:
    image_ids = list({event.image_id for event in events if event.image_id is not None})
    images = await job_store.list_images(
        conn,
        tenant_id=job.tenant_id,
        job_id=job.job_id,
        limit=len(image_ids),
        image_ids=image_ids,
    )
    ended = [image.image_id for image in images if image.state is ImageState.SUCCEEDED]
    last_event_number = events[-1].event_number if events else sent.event_number
    return _Look(
        job=job,
        message=await _message(conn, job, sent),
        events=events,
        images={image.image_id: image for image in images},
        receipts=await get_receipts(conn, tenant_id=job.tenant_id, image_ids=ended),
        progress=await _progress(conn, job, sent),
        caught_up=last_event_number >= job.last_event_number,
    )


def _job_news(look: _Look, sent: _Sent) -> job_service_pb2.WatchJobResponse:
    sent.note_job(look.job, look.message)
    return job_service_pb2.WatchJobResponse(job=look.message)


async def _message(conn: Connection, job: Job, sent: _Sent) -> job_service_pb2.Job | None:
    """Write the job when it will be sent; price and forecast cost several questions."""
    if sent.is_current(job):
        return None
    return (await job_messages(conn, job.tenant_id, [job]))[0]


async def _progress(conn: Connection, job: Job, sent: _Sent) -> list[ImageProgress]:
    if job.running_count == 0:
        return []
    return await job_store.progress_of_job(
        conn, tenant_id=job.tenant_id, job_id=job.job_id, after_time=sent.progress_time
    )


def _query(watched: JobName) -> bytes:
    """What a resume token is bound to."""
    return f"WatchJob\n{watched.text}".encode()


async def _wait(news: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return
    await asyncio.sleep(_BURST_SECONDS)


def _seconds_until_next_look(job: Job) -> float:
    return _LOOK_SECONDS_RUNNING if job.running_count else _LOOK_SECONDS_QUIET


def _progress_message(
    job: Job, progress: ImageProgress, *, previews: bool
) -> image_pb2.ImageProgress:
    name = resource_names.IMAGE.write(job.tenant_id, job.job_id, progress.image_id)
    return named_progress_message(name, progress, with_preview=previews)
