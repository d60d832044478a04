"""What a month took and cost, by day, model, key or project."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from atelier.files import DownloadedFile
from atelier.names import last_id
from atelier.v1.money_pb2 import Money
from atelier.v1.usage_service_pb2 import UsageDimension, UsageExportKind, UsageGroup
from services.console import words
from services.console.charts import BarChart, bar_chart
from services.console.errors import PageNotFoundError
from services.console.months import Month, days_of, month_named, months_back
from services.console.visit import Visit

_MONTHS_OFFERED: Final = 13
_BARS_MAX: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """One way to look at usage."""

    value: str
    title: str
    dimension: "UsageDimension.ValueType"


GROUPINGS: Final = (
    Grouping(value="day", title="By day", dimension=UsageDimension.USAGE_DIMENSION_DAY),
    Grouping(value="model", title="By model", dimension=UsageDimension.USAGE_DIMENSION_MODEL),
    Grouping(value="key", title="By key", dimension=UsageDimension.USAGE_DIMENSION_API_KEY),
    Grouping(value="project", title="By project", dimension=UsageDimension.USAGE_DIMENSION_PROJECT),
)
_KINDS: Final = {
    "csv": UsageExportKind.USAGE_EXPORT_KIND_CSV,
    "parquet": UsageExportKind.USAGE_EXPORT_KIND_PARQUET,
    "focus": UsageExportKind.USAGE_EXPORT_KIND_FOCUS,
}


async def usage(visit: Visit) -> Response:
    month = _month(visit)
    grouping = next((one for one in GROUPINGS if one.value == visit.query("by")), GROUPINGS[0])
    answer = await visit.client.query_usage([grouping.dimension], usage_filter=month.usage_filter)
    groups = _named(answer.groups)
    return visit.page(
        "usage.html",
        month=month,
        months=months_back(visit.now, visit.visitor.time_zone, count=_MONTHS_OFFERED),
        grouping=grouping,
        groupings=GROUPINGS,
        groups=groups,
        total=answer.total,
        charts=_charts(grouping, groups, month, currency=visit.visitor.currency),
        forecast=_forecast(visit, month, answer.total),
    )


async def export(visit: Visit) -> Response:
    """Send the month's records as a file."""
    kind = _KINDS.get(visit.parameter("kind"))
    if kind is None:
        raise PageNotFoundError
    month = _month(visit)
    return file_response(await visit.client.export_usage(kind, usage_filter=month.usage_filter))


def file_response(file: DownloadedFile) -> Response:
    """Hand a file of the gateway's on, to be saved, never to be shown."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", file.file_name)
    return Response(
        file.data,
        media_type=file.content_type,
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def _month(visit: Visit) -> Month:
    zone = visit.visitor.time_zone
    match = re.fullmatch(r"(20\d\d)-(0[1-9]|1[0-2])", visit.query("month"))
    if match is None:
        return months_back(visit.now, zone, count=1)[0]
    return month_named(int(match[1]), int(match[2]), zone)


def _named(groups: Sequence[UsageGroup]) -> list[tuple[str, UsageGroup]]:
    return [(last_id(group.group_values[0]) or "none", group) for group in groups]


def _charts(
    grouping: Grouping, groups: Sequence[tuple[str, UsageGroup]], month: Month, *, currency: str
) -> list[BarChart]:
    """Draw images, cost and energy of the same groups in the same order."""

    def cost(value: float) -> str:
        return words.money(Money(currency_code=currency, nanos=round(value)))

    def chart(
        title: str, measure: Callable[[UsageGroup], float], write: Callable[[float], str]
    ) -> BarChart:
        values = [(name, measure(group)) for name, group in groups]
        if grouping.value == "day":
            known = dict(values)
            values = [(day, known.get(day, 0.0)) for day in days_of(month)]
        else:
            values = sorted(values, key=lambda one: -one[1])[:_BARS_MAX]
        short = _day_of_month if grouping.value == "day" else _shortened
        return bar_chart(title, values, write=write, short_label=short)

    return [
        chart("Images", lambda group: float(group.succeeded_count), words.number),
        chart("Cost, before tax", lambda group: float(group.price.nanos), cost),
        chart(
            "Energy",
            lambda group: float(group.energy_millijoules),
            lambda value: words.energy(round(value)),
        ),
    ]


def _day_of_month(day: str) -> str:
    return str(int(day[-2:]))


def _shortened(name: str) -> str:
    return name if len(name) <= 12 else f"{name[:11]}…"


def _forecast(visit: Visit, month: Month, total: UsageGroup) -> Money | None:
    """Tell what the running month will have cost; past ones are known."""
    if visit.now >= month.end or visit.now < month.start:
        return None
    nanos = month.forecast_nanos(total.price.nanos, now=visit.now)
    if nanos is None:
        return None
    return Money(currency_code=total.price.currency_code or visit.visitor.currency, nanos=nanos)
