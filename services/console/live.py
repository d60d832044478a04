"""What pages show live: a tenant's overview, one job, the GPUs."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from atelier import AsyncClient
from atelier.v1.billing_service_pb2 import Balance
from atelier.v1.fleet_service_pb2 import Gpu
from atelier.v1.image_pb2 import Image, ImageProgress
from atelier.v1.job_service_pb2 import Job, JobFilter, JobState, WatchJobResponse
from atelier.v1.usage_service_pb2 import UsageGroup
from services.console.followed import Followed, View
from services.console.months import month_to_date

ACTIVE_JOBS_SHOWN_MAX: Final = 8
ACTIVE_JOB_STATES: Final = (
    JobState.JOB_STATE_QUEUED,
    JobState.JOB_STATE_RUNNING,
    JobState.JOB_STATE_CANCELLING,
    JobState.JOB_STATE_AWAITING_REVIEW,
)
# Sums of a month are looked at again when money moved, or after this long.
_USAGE_SECONDS: Final = 30.0


class JobView(View):
    """A job that is watched: itself, the images that changed, how far the running ones are."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.job: Job | None = None
        self.images: dict[str, Image] = {}
        self.progress: dict[str, ImageProgress] = {}
        self.previews: dict[str, bytes] = {}
        # Image → the view's version at which it changed last.
        self.image_versions: dict[str, int] = {}
        self.resume_token = ""

    def take(self, news: WatchJobResponse) -> None:
        """Note one piece of news."""
        self.resume_token = news.resume_token or self.resume_token
        if news.HasField("job"):
            self.job = news.job
        elif news.HasField("image"):
            self._take_image(news.image)
        elif news.HasField("progress"):
            self._take_progress(news.progress)
        self.gateway_answers = True
        self.tell()

    def _take_image(self, image: Image) -> None:
        self.images[image.name] = image
        self.progress.pop(image.name, None)
        self.previews.pop(image.name, None)
        self.image_versions[image.name] = self.version + 1

    def _take_progress(self, progress: ImageProgress) -> None:
        if progress.preview:
            self.previews[progress.image] = progress.preview
        self.progress[progress.image] = progress
        self.image_versions[progress.image] = self.version + 1


class LiveJobs(Followed[JobView]):
    """Jobs that somebody looks at, by name."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(JobView, self._watch)
        self._client = client

    async def _watch(self, view: JobView) -> None:
        news = self._client.watch_job(view.name, previews=True, resume_token=view.resume_token)
        async for one in news:
            view.take(one)


class OverviewView(View):
    """What a tenant's overview shows live."""

    def __init__(self, zone_key: str) -> None:
        super().__init__()
        self.zone = ZoneInfo(zone_key)
        self.jobs: list[Job] = []
        self.more_jobs = False
        self.balance = Balance()
        self.usage = UsageGroup()
        self.usage_seconds = 0.0


class LiveOverviews(Followed[OverviewView]):
    """The overview of a key's tenant, looked at again and again; named by its time zone."""

    def __init__(self, client: AsyncClient, *, seconds: float) -> None:
        super().__init__(OverviewView, self._look_again_and_again)
        self._client = client
        self._seconds = seconds

    async def look(self, view: OverviewView) -> None:
        """Fill a view with what is so now."""
        page, balance = await asyncio.gather(
            self._client.jobs_page(
                JobFilter(states=ACTIVE_JOB_STATES), page_size=ACTIVE_JOBS_SHOWN_MAX
            ),
            self._client.get_balance(),
        )
        money_moved = balance.posted != view.balance.posted
        if money_moved or time.monotonic() - view.usage_seconds > _USAGE_SECONDS:
            answer = await self._client.query_usage(
                usage_filter=month_to_date(datetime.now(UTC), view.zone)
            )
            view.usage = answer.total
            view.usage_seconds = time.monotonic()
        view.jobs, view.more_jobs = list(page.jobs), bool(page.next_page_token)
        view.balance = balance
        view.gateway_answers = True

    async def _look_again_and_again(self, view: OverviewView) -> None:
        while True:
            await self.look(view)
            view.tell()
            await asyncio.sleep(self._seconds)


class GpusView(View):
    """All GPUs, as their sensors said last."""

    def __init__(self, _: str = "") -> None:
        super().__init__()
        self.gpus: list[Gpu] = []


class LiveGpus(Followed[GpusView]):
    """The installation's GPUs, once a second."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(GpusView, self._watch)
        self._client = client

    async def _watch(self, view: GpusView) -> None:
        async for answer in self._client.watch_gpus():
            view.gpus = list(answer.gpus)
            view.gateway_answers = True
            view.tell()
