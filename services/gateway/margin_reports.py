"""Margins that were just worked out, for whoever turns their pages.

Every image of the time that is asked for is rated at cost. That is done for the first page; those
behind it are cut out of the same report, which also makes them pages of one instant. Another
replica, or this one after a while, works it out again.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from metering.margins import Margin, MarginDimension, MarginFilter, MarginKey, MarginReport

_REPORTS_MAX: Final = 4
# About 20 MB; a larger one is worked out for each of its pages.
_GROUPS_MAX: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginQuestion:
    """What a report is of."""

    chosen: MarginFilter
    group_by: tuple[MarginDimension, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedReport:
    """Every group in its order, and all together by currency."""

    groups: Sequence[tuple[MarginKey, Margin]]
    totals: Mapping[str, Margin]


class MarginReports:
    """Keeps the last few."""

    def __init__(self) -> None:
        self._kept: OrderedDict[MarginQuestion, FinishedReport] = OrderedDict()

    async def report(
        self,
        question: MarginQuestion,
        work_out: Callable[[], Awaitable[MarginReport]],
        *,
        is_first_page: bool,
    ) -> FinishedReport:
        """Work a report out, unless it was for a page before this one."""
        kept = None if is_first_page else self._kept.get(question)
        if kept is not None:
            return kept
        made = await work_out()
        finished = FinishedReport(groups=made.groups(), totals=made.totals())
        self._keep(question, finished)
        return finished

    def _keep(self, question: MarginQuestion, report: FinishedReport) -> None:
        self._kept.pop(question, None)
        if len(report.groups) > _GROUPS_MAX:
            return
        self._kept[question] = report
        if len(self._kept) > _REPORTS_MAX:
            self._kept.popitem(last=False)
