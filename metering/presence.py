"""A worker's session on a GPU: from when to when it was there, and what it said it did."""

from bisect import insort
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from metering.power import AttemptWork, SegmentKind
from tenants.ids import SessionId, TenantId

SILENT: Final = SegmentKind.SILENT


class Mark(NamedTuple):
    """A finished interval of work, as the engine tells it; times are CLOCK_MONOTONIC."""

    start_nanos: int
    end_nanos: int
    # Counts from 1 in the session, in order of time; 0 for what the meter itself concludes.
    number: int
    # WORK or LOAD; SILENT for time that nobody can account for.
    kind: SegmentKind
    work: tuple[AttemptWork, ...] = ()


@dataclass(slots=True, kw_only=True)
class Presence:
    """One session on one GPU."""

    session_id: SessionId
    tenant_id: TenantId
    start_nanos: int
    # Nothing that is still to come starts before this moment.
    watermark_nanos: int
    # When a message last came.
    heard_nanos: int
    # Streams that are open; a reconnecting worker may have two for a moment.
    stream_count: int = 1
    # When the last stream broke.
    broken_nanos: int = 0
    # Unset while the session is there.
    end_nanos: int | None = None
    # Not yet closed, in order of time.
    marks: list[Mark] = field(default_factory=list[Mark])
    # Of marks that came and are not yet closed, refused ones too.
    numbers: set[int] = field(default_factory=set[int])
    # Every mark up to this number lies in closed segments.
    closed_mark_number: int = 0

    def knows(self, number: int) -> bool:
        """Tell a repetition from news; what is older than the closed marks is no news either."""
        return number <= self.closed_mark_number or number in self.numbers

    def add(self, mark: Mark) -> None:
        insort(self.marks, mark)
        if mark.number:
            self.numbers.add(mark.number)

    def be_silent(self, *, until_nanos: int) -> None:
        """Give up on the time from the watermark on: whatever happened there is overhead."""
        if until_nanos > self.watermark_nanos:
            self.add(Mark(self.watermark_nanos, until_nanos, 0, SILENT))
            self.watermark_nanos = until_nanos

    def give_up_after(self, end_nanos: int) -> None:
        """Cut off what no reading will cover; of a mark that is cut nobody can say what it drew."""
        self.marks = [
            mark if mark.end_nanos <= end_nanos else Mark(mark.start_nanos, end_nanos, 0, SILENT)
            for mark in self.marks
            if mark.start_nanos < end_nanos
        ]

    def forget_before(self, edge_nanos: int) -> None:
        """Drop the marks that lie in closed segments."""
        closed = [mark for mark in self.marks if mark.end_nanos <= edge_nanos]
        self.marks = [mark for mark in self.marks if mark.end_nanos > edge_nanos]
        self.closed_mark_number = max([self.closed_mark_number, *(mark.number for mark in closed)])
        self.numbers = {number for number in self.numbers if number > self.closed_mark_number}
