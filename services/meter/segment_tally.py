"""Segments of one device, counted since the meter started."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from metering.energy import Segment
from metering.power import SegmentKind

_SECOND_NANOS: Final = 1_000_000_000


class SegmentTally:
    """Counts what was closed, and what had to be given up."""

    def __init__(self) -> None:
        self.closed: Counter[SegmentKind] = Counter(dict.fromkeys(SegmentKind, 0))
        self.closed_seconds = dict.fromkeys(SegmentKind, 0.0)
        self.abandoned = 0

    def note(self, segments: Iterable[Segment]) -> None:
        """Count closed segments and their time."""
        for segment in segments:
            seconds = (segment.end.nanos - segment.start.nanos) / _SECOND_NANOS
            self.closed[segment.kind] += 1
            self.closed_seconds[segment.kind] += seconds
