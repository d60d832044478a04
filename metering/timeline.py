"""The timeline of one GPU in one epoch: readings and marks come in, closed segments come out.

Segments are closed as far as time is settled (`Presences`) and readings cover it.

Pure: the clock is an argument. All times are CLOCK_MONOTONIC in nanoseconds.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import hypot
from typing import Final

from metering.activities import activities_between
from metering.energy import Activity, Edge, Reading, Segment, partition
from metering.power import Drawn, LearnedPower, SegmentKind
from metering.presence import Presence
from metering.presences import Presences

SECOND_NANOS: Final = 1_000_000_000
HOUR_NANOS: Final = 3600 * SECOND_NANOS
# A watermark that lags so far behind tells that a long mark is running; before that, waiting for
# the next message gives a better edge.
_PATIENCE_NANOS: Final = 300_000_000
# Idle time is closed in pieces of this length, so that it does not fill the database.
_IDLE_HOLD_NANOS: Final = 10 * SECOND_NANOS
_IDLE_KINDS: Final = (SegmentKind.PARKED, SegmentKind.FREE, SegmentKind.SILENT)


class Timeline:
    """The partition of one GPU's time since its first reading.

    Args:
        start: The edge the timeline begins at; when the meter was down, the last reading before.
        first: The first reading of this epoch; between ``start`` and it the time is UNKNOWN.
        wall_offset_nanos: Wall clock − monotonic clock, for the cut at UTC hours.
        power: Shapes the interpolation, and learns from the readings.
    """

    def __init__(
        self,
        *,
        start: Reading,
        first: Reading,
        wall_offset_nanos: int,
        power: LearnedPower,
    ) -> None:
        self._edge = Edge(reading=start, error_millijoules=0.0)
        self._readings = [first] if first.nanos > start.nanos else []
        self._known_from_nanos = first.nanos
        self.presences = Presences(first.nanos)
        self._wall_offset_nanos = wall_offset_nanos
        self._power = power
        # Of the last mark: what a mark that still runs is taken to draw.
        self._last_power = power.of(SegmentKind.LOAD, (), 1)
        # Up to where the power has been learned from, and whether the edge is a reading's own.
        self._learned_nanos = first.nanos
        self._is_edge_read = start.nanos == first.nanos

    @property
    def last_reading(self) -> Reading:
        return self._readings[-1] if self._readings else self._edge.reading

    @property
    def session(self) -> Presence | None:
        """The worker that is there."""
        return self.presences.present

    def read(self, reading: Reading) -> None:
        """Take the counter's next reading; an older one than the last is of no use."""
        reading = Reading(
            reading.nanos - self._power.lag_nanos,
            reading.millijoules,
            hypot(reading.timing_nanos, self._power.lag_error_nanos),
        )
        if reading.nanos > self.last_reading.nanos:
            assert reading.millijoules >= self.last_reading.millijoules
            self._readings.append(reading)

    def close(self, now_nanos: int) -> list[Segment]:
        """Return the segments that are decided by now, in order of time."""
        self.presences.settle(now_nanos)
        if not self._is_worth_closing():
            return []
        segments, edges = self._partition(self._usable_readings(now_nanos))
        if segments and self._may_grow(segments[-1]):
            segments.pop()
            edges.pop()
        return self._closed(segments, edges)

    def finish(self) -> list[Segment]:
        """Return all segments up to the last reading; what still runs is given up as SILENT."""
        self.presences.finish(self.last_reading.nanos)
        return self._closed(*self._partition(self._readings))

    def _is_worth_closing(self) -> bool:
        """Spare the division where it would give nothing but a little idle time."""
        edge_nanos = self._edge.reading.nanos
        return (
            any(presence.marks for presence in self.presences)
            or self.presences.settled_nanos - edge_nanos >= _IDLE_HOLD_NANOS
            or self._hour(self.presences.settled_nanos) != self._hour(edge_nanos)
        )

    def _usable_readings(self, now_nanos: int) -> list[Reading]:
        """The readings whose increments can be divided: what happened before them is settled.

        While a long mark runs, the increment in which it began is divided too, so that what ended
        before it need not wait for it: the running mark is taken to draw what the last one drew.
        """
        usable = [
            reading for reading in self._readings if reading.nanos <= self.presences.settled_nanos
        ]
        is_mark_running = (
            self.session is not None and now_nanos - self.presences.settled_nanos > _PATIENCE_NANOS
        )
        if is_mark_running and len(usable) < len(self._readings):
            usable.append(self._readings[len(usable)])
        return usable

    def _partition(self, readings: list[Reading]) -> tuple[list[Segment], list[Edge]]:
        if not readings:
            return [], []
        activities = activities_between(
            start_nanos=self._edge.reading.nanos,
            known_from_nanos=self._known_from_nanos,
            end_nanos=self.presences.settled_nanos,
            covered_nanos=readings[-1].nanos,
            presences=list(self.presences),
            power=self._power,
            wall_offset_nanos=self._wall_offset_nanos,
        )
        self._learn(readings, activities)
        return partition(
            start=self._edge,
            readings=readings,
            activities=activities,
            beyond=self._last_power if self.session else self._power.of(SegmentKind.FREE, (), 1),
        )

    def _learn(self, readings: Sequence[Reading], activities: Sequence[Activity]) -> None:
        """Hold every whole increment once against what it was taken to be."""
        whole = [self._edge.reading, *readings] if self._is_edge_read else readings
        for before, after in pairwise(whole):
            if before.nanos < self._learned_nanos or not activities:
                continue
            if after.nanos > activities[-1].end_nanos:
                return
            self._learned_nanos = after.nanos
            millijoules = after.millijoules - before.millijoules
            timing_nanos = hypot(before.timing_nanos, after.timing_nanos)
            self._power.learn(
                _drawn_between(activities, before.nanos, after.nanos),
                millijoules=millijoules,
                error_millijoules=millijoules * timing_nanos / (after.nanos - before.nanos),
            )

    def _may_grow(self, segment: Segment) -> bool:
        """Whether the next call would give the same idle stretch, only longer."""
        length_nanos = segment.end.nanos - segment.start.nanos
        ends_with_hour = self._hour(segment.end.nanos) != segment.hour
        return (
            segment.kind in _IDLE_KINDS and length_nanos < _IDLE_HOLD_NANOS and not ends_with_hour
        )

    def _closed(self, segments: list[Segment], edges: list[Edge]) -> list[Segment]:
        """Move the edge behind these segments and drop what they are made of."""
        if not segments:
            return []
        self._edge = edges[-1]
        edge_nanos = self._edge.reading.nanos
        self._is_edge_read = any(reading.nanos == edge_nanos for reading in self._readings)
        self._readings = [reading for reading in self._readings if reading.nanos > edge_nanos]
        if marks := self.presences.forget_before(edge_nanos):
            last = marks[-1]
            self._last_power = self._power.of(
                last.kind, last.work, last.end_nanos - last.start_nanos
            )
        return segments

    def _hour(self, nanos: int) -> int:
        return (nanos + self._wall_offset_nanos) // HOUR_NANOS


def _drawn_between(activities: Sequence[Activity], start_nanos: int, end_nanos: int) -> list[Drawn]:
    """What was drawn in an interval."""
    lengths = (
        (activity, min(activity.end_nanos, end_nanos) - max(activity.start_nanos, start_nanos))
        for activity in activities
    )
    return [Drawn(activity.power, nanos) for activity, nanos in lengths if nanos > 0]
