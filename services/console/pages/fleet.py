"""For the operator: GPUs live, workers, and draining them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from starlette.responses import Response

from services.console.errors import PageNotFoundError
from services.console.live import GpusView
from services.console.server_sent_events import live_response
from services.console.visit import Visit, see

_ALL: Final = "all"
_HOURS_MAX: Final = 24 * 30


async def gpus(visit: Visit) -> Response:
    found = [gpu async for gpu in visit.client.list_gpus()]
    return visit.page("gpus.html", gpus=found)


async def gpus_live(visit: Visit) -> Response:
    def events(view: GpusView, _: int) -> Iterator[tuple[str, str]]:
        if view.gpus:
            yield "gpus", visit.html("parts/gpus.html", gpus=view.gpus)

    return live_response(visit, visit.door.gpus, _ALL, events)


async def workers(visit: Visit) -> Response:
    page = await visit.client.list_workers()
    return visit.page("workers.html", workers=page.workers, warning=page.warning)


async def drain(visit: Visit) -> Response:
    """End a worker once it has finished what it draws; nothing is lost."""
    gpu = visit.parameter("gpu")
    if not gpu.isascii() or "/" in gpu:
        raise PageNotFoundError
    hours = visit.form.whole_number("hours")
    keep_empty = timedelta(hours=max(0, min(hours, _HOURS_MAX)))
    await visit.client.drain_worker(gpu, keep_empty=keep_empty)
    return see("/operator/workers")
