"""Where a page of usage sums begins: so many groups behind the start, or behind that of a day.

Sums by day are read from the day on at which a page begins, so that the last page of a year takes
no longer than its first.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date

from metering.usage_reports import UsageSum
from services.gateway.page_tokens import Position


def place_of(position: Position | None) -> tuple[date | None, int]:
    """Read a page's beginning: its day, and how many groups of that day are behind it."""
    match position:
        case (day, count):
            return date.fromisoformat(day), int(count)
        case (count,):
            return None, int(count)
        case _:
            return None, 0


def with_places(
    groups: Sequence[UsageSum], *, from_day: date | None, offset: int
) -> list[tuple[Position, UsageSum]]:
    """Each group of a page with where the page behind it would begin."""
    counts = Counter({from_day: offset})
    placed: list[tuple[Position, UsageSum]] = []
    for group in groups:
        counts[group.day] += 1
        count = str(counts[group.day])
        placed.append(((count,) if group.day is None else (group.day.isoformat(), count), group))
    return placed
