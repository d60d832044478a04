"""A tenant's first page: what runs, what it has, what it used."""

import asyncio
from collections.abc import Iterator

from starlette.responses import Response

from atelier.v1.usage_service_pb2 import QueryUsageResponse, UsageDimension
from services.console import words
from services.console.charts import BarChart, bar_chart
from services.console.live import OverviewView
from services.console.months import Month, days_of, month_of
from services.console.server_sent_events import live_response
from services.console.visit import Visit, see

_RECENT_JOBS = 6


async def overview(visit: Visit) -> Response:
    if visit.visitor.is_operator:
        return see("/operator")
    view = OverviewView(visit.visitor.time_zone.key)
    month = month_of(visit.now, visit.visitor.time_zone)
    _, recent, usage = await asyncio.gather(
        visit.door.overviews.look(view),
        visit.client.jobs_page(page_size=_RECENT_JOBS),
        visit.client.query_usage(
            [UsageDimension.USAGE_DIMENSION_DAY], usage_filter=month.usage_filter
        ),
    )
    return visit.page(
        "overview.html",
        view=view,
        forecast=forecast(visit, view),
        recent=recent.jobs,
        chart=images_by_day(usage, month),
    )


async def overview_live(visit: Visit) -> Response:
    def events(view: OverviewView, _: int) -> Iterator[tuple[str, str]]:
        yield "jobs", visit.html("parts/active_jobs.html", view=view)
        yield "tiles", visit.html("parts/tiles.html", view=view, forecast=forecast(visit, view))

    zone = visit.visitor.time_zone.key
    return live_response(visit, visit.door.overviews, zone, events)


def forecast(visit: Visit, view: OverviewView) -> int | None:
    """Tell what the month will have cost at its pace so far, in nanos."""
    month = month_of(visit.now, visit.visitor.time_zone)
    return month.forecast_nanos(view.usage.price.nanos, now=visit.now)


def images_by_day(usage: QueryUsageResponse, month: Month) -> BarChart:
    counts = {group.group_values[0]: group.succeeded_count for group in usage.groups}
    return bar_chart(
        "Images by day",
        [(day, float(counts.get(day, 0))) for day in days_of(month)],
        write=words.number,
        short_label=lambda day: str(int(day[-2:])),
    )
