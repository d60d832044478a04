"""The table of docs/metrics.md, made of the list of metrics."""

from typing import Final

from services.metrics import names
from services.metrics.metric import Metric
from tests.architecture.source_tree import ROOT

PAGE: Final = ROOT / "docs" / "metrics.md"
BEGIN: Final = "<!-- of services/metrics/names.py: make metrics-page -->\n"
END: Final = "<!-- end of the list -->\n"
ROOMS: Final = {
    "build": "Every process",
    "metrics": "Every process",
    "database": "Gateway, recorder, fleet, housekeeper (pools: not the fleet)",
    "gateway": "Gateway",
    "recorder": "Recorder",
    "meter": "Meter",
    "fleet": "Fleet",
    "housekeeper": "Housekeeper",
}


def table() -> str:
    """One table for each process, in the order of the list."""
    parts: dict[str, list[str]] = {}
    for metric in names.ALL:
        parts.setdefault(ROOMS[metric.name.split("_")[1]], []).append(_row(metric))
    heading = "| name | kind | labels | means |\n| --- | --- | --- | --- |\n"
    return "\n".join(f"### {room}\n\n{heading}{''.join(rows)}" for room, rows in parts.items())


def written() -> str:
    """What stands in the page now."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}")


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |\n"
