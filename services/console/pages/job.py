"""One job: how far it is, its gallery, and what can be done with it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from atelier.names import last_id
from atelier.v1.image_pb2 import Image, ImageProgress, ImageState
from atelier.v1.job_service_pb2 import ImageFilter
from services.console.errors import PageNotFoundError
from services.console.live import JobView
from services.console.server_sent_events import live_response
from services.console.visit import Visit, see

_IMAGES_PER_PAGE: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A filter by state."""

    value: str
    title: str
    states: "tuple[ImageState.ValueType, ...]"


CHOICES: Final = (
    Choice(value="", title="All", states=()),
    Choice(value="succeeded", title="Succeeded", states=(ImageState.IMAGE_STATE_SUCCEEDED,)),
    Choice(
        value="waiting",
        title="In progress",
        states=(
            ImageState.IMAGE_STATE_QUEUED,
            ImageState.IMAGE_STATE_RUNNING,
            ImageState.IMAGE_STATE_QUARANTINED,
        ),
    ),
    Choice(
        value="missing",
        title="Did not come",
        states=(
            ImageState.IMAGE_STATE_FAILED,
            ImageState.IMAGE_STATE_BLOCKED,
            ImageState.IMAGE_STATE_CANCELLED,
        ),
    ),
)


async def job(visit: Visit) -> Response:
    name = job_id(visit)
    chosen = next((one for one in CHOICES if one.value == visit.query("state")), CHOICES[0])
    found, page = await asyncio.gather(
        visit.client.get_job(name),
        visit.client.images_page(
            name,
            ImageFilter(states=chosen.states),
            page_size=_IMAGES_PER_PAGE,
            page_token=visit.query("page"),
        ),
    )
    return visit.page(
        "job.html",
        job=found,
        images=page.images,
        progress={image.name: image.progress for image in page.images},
        choices=CHOICES,
        chosen=chosen,
        next_page=page.next_page_token,
        is_first_page=not visit.query("page"),
    )


async def job_live(visit: Visit) -> Response:
    """Tell what changes of the job, and of the images of the page that asks."""
    found = await visit.client.get_job(job_id(visit))
    first, last = _range(visit.query("images"))

    def events(view: JobView, asked_at: int) -> Iterator[tuple[str, str]]:
        if view.job is not None:
            yield "summary", visit.html("parts/job_summary.html", job=view.job)
            if view.job.end_time.seconds:
                yield "actions", visit.html("parts/job_actions.html", job=view.job)
        for image_name, version in list(view.image_versions.items()):
            image = view.images.get(image_name)
            if version > asked_at and image is not None and first <= image.image_number <= last:
                yield f"image-{last_id(image_name)}", _tile(visit, view, image)

    return live_response(visit, visit.door.jobs, found.name, events)


async def cancel_job(visit: Visit) -> Response:
    name = job_id(visit)
    await visit.client.cancel_job(name)
    return see(f"/jobs/{name}")


async def retry_job(visit: Visit) -> Response:
    """Order what failed once more; the same form sent twice orders once."""
    again = await visit.client.retry_failed_images(
        job_id(visit), request_id=visit.form.text("request_id")
    )
    return see(f"/jobs/{last_id(again.name)}")


def job_id(visit: Visit) -> str:
    """Return the job's id of the address.

    Raises:
        PageNotFoundError: it is no id, so there is no such job.
    """
    return _id(visit.parameter("job"))


def image_id(visit: Visit) -> str:
    return _id(visit.parameter("image"))


def _id(text: str) -> str:
    if not text.isascii() or not text.isalnum() or text != text.lower():
        raise PageNotFoundError
    return text


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return (int(first), int(last)) if first.isdecimal() and last.isdecimal() else (1, 0)


def _tile(visit: Visit, view: JobView, image: Image) -> str:
    progress = view.progress.get(image.name, ImageProgress())
    return visit.html(
        "parts/image_tile.html",
        image=image,
        step=progress.step,
        step_count=progress.step_count,
        has_preview=image.name in view.previews,
    )
