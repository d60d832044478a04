"""The timeline of one GPU in one epoch: readings and marks come in, closed segments come out.

Everything up to the *settled* moment is decided: no mark for it is accepted any more. While a
worker is heard, that is its watermark; a worker silent for two seconds loses its time to its
tenant's overhead. Segments are closed as far as time is settled and readings cover it.

Pure: the clock is an argument. All times are CLOCK_MONOTONIC in nanoseconds.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import hypot
from typing import Final

from metering.activities import activities_between
from metering.energy import Activity, Edge, Reading, Segment, partition
from metering.errors import DeviceTakenError
from metering.power import Drawn, LearnedPower, SegmentKind
from metering.presence import Mark, Presence
from tenants.ids import SessionId, TenantId

SECOND_NANOS: Final = 1_000_000_000
HOUR_NANOS: Final = 3600 * SECOND_NANOS
# A worker that says nothing for so long is not waited for.
SILENCE_NANOS: Final = 2 * SECOND_NANOS
# A watermark that lags so far behind tells that a long mark is running; before that, waiting for
# the next message gives a better edge.
_PATIENCE_NANOS: Final = 300_000_000
# No load, compile or step takes longer; a watermark that lags so far behind is not believed.
_MARK_NANOS_MAX: Final = 1 * HOUR_NANOS
# Marks of one session that wait for readings or for its watermark; the rest is refused.
_PENDING_MARKS_MAX: Final = 20_000
# When the meter itself did not look for so long, it cannot blame a worker for its silence.
_OWN_STALL_NANOS: Final = 1 * SECOND_NANOS
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
        self._settled_nanos = first.nanos
        self._looked_nanos = first.nanos
        self._presences: list[Presence] = []
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
        if self._presences and self._presences[-1].end_nanos is None:
            return self._presences[-1]
        return None

    def adopt(self, before: Presence, *, now_nanos: int) -> None:
        """Go on with the session of an earlier epoch; its marks for the time before are refused."""
        self._begin(
            before.session_id, before.tenant_id, now_nanos=now_nanos, earliest_nanos=now_nanos
        )
        adopted = self._presences[-1]
        adopted.stream_count = before.stream_count
        adopted.broken_nanos = before.broken_nanos
        adopted.closed_mark_number = max([before.closed_mark_number, *before.numbers])

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

    def arrive(
        self, session_id: SessionId, tenant_id: TenantId, *, now_nanos: int, earliest_nanos: int
    ) -> None:
        """Take note of a worker's stream whose first message speaks of ``earliest_nanos`` on.

        Raises:
            DeviceTakenError: Another tenant's worker is there; a device belongs to one at a time.
        """
        self._settle(now_nanos)
        present = self.session
        # The tenant too: a session is whatever its worker says, and may be another tenant's.
        speaker = (tenant_id, session_id)
        if present is not None and (present.tenant_id, present.session_id) == speaker:
            present.stream_count += 1
            present.heard_nanos = now_nanos
            return
        if present is not None:
            if present.tenant_id != tenant_id and present.stream_count:
                raise DeviceTakenError("a worker of another tenant is on this device")
            self._end(present, now_nanos if present.stream_count else present.broken_nanos)
        self._begin(session_id, tenant_id, now_nanos=now_nanos, earliest_nanos=earliest_nanos)

    def hear(
        self,
        session_id: SessionId,
        marks: Sequence[Mark],
        *,
        watermark_nanos: int,
        now_nanos: int,
    ) -> int:
        """Take a message of a session that arrived; return how many of its marks were refused."""
        self._settle(now_nanos)
        present = self.session
        if present is None or present.session_id != session_id:
            return len(marks)
        refused_count = sum(
            not self._accept(present, mark, now_nanos=now_nanos)
            for mark in marks
            if not present.knows(mark.number)
        )
        present.heard_nanos = now_nanos
        present.watermark_nanos = max(present.watermark_nanos, min(watermark_nanos, now_nanos))
        self._settle(now_nanos)
        return refused_count

    def leave(self, session_id: SessionId, *, now_nanos: int, orderly: bool) -> None:
        """Take note that a stream ended: by the worker's own wish, or broken."""
        present = self.session
        if present is None or present.session_id != session_id:
            return
        present.stream_count -= 1
        present.broken_nanos = now_nanos
        if orderly and not present.stream_count:
            self._end(present, present.watermark_nanos)

    def close(self, now_nanos: int) -> list[Segment]:
        """Return the segments that are decided by now, in order of time."""
        self._settle(now_nanos)
        if not self._is_worth_closing():
            return []
        segments, edges = self._partition(self._usable_readings(now_nanos))
        if segments and self._may_grow(segments[-1]):
            segments.pop()
            edges.pop()
        return self._closed(segments, edges)

    def finish(self) -> list[Segment]:
        """Return all segments up to the last reading; what still runs is given up as SILENT."""
        end_nanos = self.last_reading.nanos
        if (present := self.session) is not None:
            self._end(present, max(end_nanos, present.watermark_nanos))
        self._settled_nanos = max(self._settled_nanos, end_nanos)
        for presence in self._presences:
            presence.give_up_after(end_nanos)
        return self._closed(*self._partition(self._readings))

    def _accept(self, present: Presence, mark: Mark, *, now_nanos: int) -> bool:
        if mark.end_nanos > now_nanos or len(present.marks) >= _PENDING_MARKS_MAX:
            return False
        if mark.start_nanos >= max(self._settled_nanos, present.start_nanos):
            present.add(mark)
            return True
        rest = max(self._settled_nanos, mark.start_nanos)
        if mark.end_nanos > rest:
            # What is left of a refused mark was no idleness: its tenant's overhead.
            present.add(Mark(rest, mark.end_nanos, mark.number, SegmentKind.SILENT))
        present.numbers.add(mark.number)
        return False

    def _begin(
        self, session_id: SessionId, tenant_id: TenantId, *, now_nanos: int, earliest_nanos: int
    ) -> None:
        before = self._presences[-1] if self._presences else None
        known_end = before.end_nanos if before and before.end_nanos is not None else 0
        start_nanos = max(self._settled_nanos, known_end, min(earliest_nanos, now_nanos))
        presence = Presence(
            session_id=session_id,
            tenant_id=tenant_id,
            start_nanos=start_nanos,
            watermark_nanos=start_nanos,
            heard_nanos=now_nanos,
        )
        if before is not None and before.session_id == session_id:
            presence.closed_mark_number = max([before.closed_mark_number, *before.numbers])
        self._presences.append(presence)

    def _end(self, present: Presence, end_nanos: int) -> None:
        present.be_silent(until_nanos=end_nanos)
        marks_end_nanos = max((mark.end_nanos for mark in present.marks), default=0)
        present.end_nanos = max(end_nanos, present.watermark_nanos, marks_end_nanos)

    def _settle(self, now_nanos: int) -> None:
        """Move the settled moment on; it never goes back."""
        stall_nanos = now_nanos - self._looked_nanos
        self._looked_nanos = max(self._looked_nanos, now_nanos)
        present = self.session
        if present is not None and stall_nanos > _OWN_STALL_NANOS:
            present.heard_nanos += stall_nanos
        given_up_nanos = now_nanos - SILENCE_NANOS
        if present is None:
            settled_nanos = given_up_nanos
        elif present.heard_nanos >= given_up_nanos:
            present.be_silent(until_nanos=now_nanos - _MARK_NANOS_MAX)
            settled_nanos = present.watermark_nanos
        elif present.stream_count:
            present.be_silent(until_nanos=given_up_nanos)
            settled_nanos = present.watermark_nanos
        else:
            self._end(present, present.broken_nanos)
            settled_nanos = given_up_nanos
        self._settled_nanos = max(self._settled_nanos, settled_nanos)

    def _is_worth_closing(self) -> bool:
        """Spare the division where it would give nothing but a little idle time."""
        edge_nanos = self._edge.reading.nanos
        return (
            any(presence.marks for presence in self._presences)
            or self._settled_nanos - edge_nanos >= _IDLE_HOLD_NANOS
            or self._hour(self._settled_nanos) != self._hour(edge_nanos)
        )

    def _usable_readings(self, now_nanos: int) -> list[Reading]:
        """The readings whose increments can be divided: what happened before them is settled.

        While a long mark runs, the increment in which it began is divided too, so that what ended
        before it need not wait for it: the running mark is taken to draw what the last one drew.
        """
        usable = [reading for reading in self._readings if reading.nanos <= self._settled_nanos]
        is_mark_running = (
            self.session is not None and now_nanos - self._settled_nanos > _PATIENCE_NANOS
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
            end_nanos=self._settled_nanos,
            covered_nanos=readings[-1].nanos,
            presences=self._presences,
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
        for presence in self._presences:
            for mark in presence.marks:
                if mark.number and mark.end_nanos <= edge_nanos:
                    self._last_power = self._power.of(
                        mark.kind, mark.work, mark.end_nanos - mark.start_nanos
                    )
            presence.forget_before(edge_nanos)
        self._presences = [
            presence
            for presence in self._presences
            if presence is self._presences[-1]
            or presence.end_nanos is None
            or presence.end_nanos > edge_nanos
        ]
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
