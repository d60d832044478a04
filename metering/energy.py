"""Where the joules went: the timeline of one GPU as a partition into segments.

Energy of a segment = E(end) − E(start), and neighbours share their edge, so the sum over segments
telescopes to the counter's own difference: nothing is lost or booked twice, whatever the model
says. Between two readings E is interpolated by what happened there: each increment is divided over
the activities within it in proportion to modelled power. In a simulation of a counter that moves
every 100 ms, linear interpolation errs 4.3 % on work of half a second, this one 1.9 %.

Times are CLOCK_MONOTONIC in nanoseconds, energy is whole millijoules.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from math import ceil, hypot, sqrt
from typing import Final, NamedTuple

from metering.largest_remainder import divide
from metering.power import NOISE, AttemptWork, Power, SegmentKind, Shape
from tenants.ids import ImageId, SessionId, TenantId

# A counter of whole millijoules: uniform within one.
_COUNTER_STEP_ERROR_MILLIJOULES: Final = 1 / sqrt(12)


class Reading(NamedTuple):
    """What the counter showed, or an edge whose value was interpolated."""

    nanos: int
    millijoules: int
    # One standard deviation of the moment at which it was true.
    timing_nanos: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A stretch of time in which one thing happened, within one UTC hour."""

    start_nanos: int
    end_nanos: int
    # What it is taken to draw, positive.
    power: Power
    kind: SegmentKind
    tenant_id: TenantId | None = None
    session_id: SessionId | None = None
    # The session's marks up to this number end no later than this activity.
    last_mark_number: int = 0
    work: tuple[AttemptWork, ...] = ()
    # Hours since 1970 in UTC, so that neighbours of different hours are never joined.
    hour: int = 0

    @property
    def likeness(self) -> Hashable:
        """What neighbours must have in common to become one segment."""
        attempts = frozenset((work.image_id, work.attempt) for work in self.work)
        return self.kind, self.tenant_id, self.session_id, self.hour, attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of a segment's energy that belongs to one attempt."""

    image_id: ImageId
    attempt: int
    millijoules: int
    error_millijoules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A closed piece of a GPU's timeline between two edges."""

    start: Reading
    end: Reading
    # One standard deviation of quantisation and interpolation at both edges. The sensor's
    # systematic part is not in it: it is a property of the source and does not average out.
    error_millijoules: int
    kind: SegmentKind
    tenant_id: TenantId | None
    session_id: SessionId | None
    last_mark_number: int
    shares: tuple[Share, ...]
    hour: int

    @property
    def millijoules(self) -> int:
        return self.end.millijoules - self.start.millijoules


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """E at one moment, with the error of its interpolation."""

    reading: Reading
    error_millijoules: float
    # Of the activity that ends here. When the next one is alike, nothing changes hands at this
    # edge: its error is no error of anybody's energy.
    likeness: Hashable = None


class _Piece(NamedTuple):
    """A part of an increment: modelled millijoules (or in proportion to them), and whose error."""

    weight: float
    error: float
    shape: Shape


def partition(
    *,
    start: Edge,
    readings: Sequence[Reading],
    activities: Sequence[Activity],
    beyond: Power,
) -> tuple[list[Segment], list[Edge]]:
    """Divide what the counter counted since ``start`` over the activities.

    Args:
        start: The edge at which the first activity begins.
        readings: The counter after ``start``, in order of time, never falling.
        activities: Contiguous from ``start`` on.
        beyond: What is taken to be drawn after the last activity.

    Returns:
        The segments that the readings cover wholly, neighbours of one kind for the same attempts
        joined, and the edge at the end of each of them.
    """
    edges = _edges(start, readings, activities, beyond)
    closed = list(zip(activities, pairwise(edges), strict=False))
    joined = [list(group) for _, group in groupby(closed, key=lambda pair: pair[0].likeness)]
    # What follows is known for all but the last of them, and mostly for that one too.
    behind = activities[len(closed)] if len(closed) < len(activities) else None
    followers = [*(group[0][0].likeness for group in joined[1:]), behind and behind.likeness]
    segments = [
        _segment(group, follower)
        for group, follower in zip(joined, followers[: len(joined)], strict=True)
    ]
    return segments, [group[-1][1][1] for group in joined]


def _edges(
    start: Edge, readings: Sequence[Reading], activities: Sequence[Activity], beyond: Power
) -> list[Edge]:
    """Return E at ``start`` and at the end of each activity that the readings reach."""
    edges = [start]
    pending = iter(activities)
    activity = next(pending, None)
    for before, after in pairwise([start.reading, *readings]):
        pieces: list[_Piece] = []
        ends: list[tuple[Activity, int]] = []
        position = before.nanos
        while position < after.nanos:
            stop = after.nanos if activity is None else min(activity.end_nanos, after.nanos)
            power = beyond if activity is None else activity.power
            pieces.append(_Piece(power.watts * (stop - position), power.error, power.shape))
            position = stop
            if activity is not None and stop == activity.end_nanos:
                ends.append((activity, len(pieces)))
                activity = next(pending, None)
        edges += _edges_within(before, after, pieces, ends)
    return edges


def _edges_within(
    before: Reading,
    after: Reading,
    pieces: Sequence[_Piece],
    ends: Sequence[tuple[Activity, int]],
) -> Iterator[Edge]:
    """Yield E at moments inside one increment; each comes with how many pieces lie before it."""
    if not ends:
        return
    increment = after.millijoules - before.millijoules
    energies = [0, *accumulate(divide(increment, [piece.weight for piece in pieces]))]
    for activity, piece_count in ends:
        left = (activity.end_nanos - before.nanos) / (after.nanos - before.nanos)
        timing_nanos = (1 - left) * before.timing_nanos + left * after.timing_nanos
        error = hypot(
            increment * _relative_error(pieces, piece_count),
            increment * timing_nanos / (after.nanos - before.nanos),
            _COUNTER_STEP_ERROR_MILLIJOULES,
        )
        energy = before.millijoules + energies[piece_count]
        reading = Reading(activity.end_nanos, energy, timing_nanos)
        yield Edge(reading=reading, error_millijoules=error, likeness=activity.likeness)


def _relative_error(pieces: Sequence[_Piece], left_count: int) -> float:
    """One standard deviation of the part of an increment that lies left of an edge.

    The part is left ÷ (left + right). A shape that errs by a little moves both sides in proportion
    to what of it lies there; what is left is noise, independent on either side.
    """
    sides: dict[Shape, tuple[float, float]] = {}
    errors: dict[Shape, float] = {}
    for index, piece in enumerate(pieces):
        left, right = sides.get(piece.shape, (0.0, 0.0))
        is_left = index < left_count
        sides[piece.shape] = (left + piece.weight * is_left, right + piece.weight * (not is_left))
        errors[piece.shape] = piece.error
    left = sum(side[0] for side in sides.values())
    right = sum(side[1] for side in sides.values())
    whole = left + right
    by_shape = (
        errors[shape] * (side[0] * right - left * side[1]) / whole**2
        for shape, side in sides.items()
    )
    return hypot(*by_shape, sqrt(2) * NOISE * left * right / whole**2)


def _segment(
    group: Sequence[tuple[Activity, tuple[Edge, Edge]]], follower: Hashable | None
) -> Segment:
    first, (start, _) = group[0]
    last, (_, end) = group[-1]
    start_error = 0.0 if start.likeness == first.likeness else start.error_millijoules
    end_error = 0.0 if follower == last.likeness else end.error_millijoules
    segment = Segment(
        start=start.reading,
        end=end.reading,
        error_millijoules=ceil(hypot(start_error, end_error)),
        kind=first.kind,
        tenant_id=first.tenant_id,
        session_id=first.session_id,
        last_mark_number=last.last_mark_number,
        shares=(),
        hour=first.hour,
    )
    return replace(segment, shares=_shares(segment, [activity for activity, _ in group]))


def _shares(segment: Segment, activities: Sequence[Activity]) -> tuple[Share, ...]:
    """Divide a segment by the work done in it, in the order of the images' ids."""
    units: dict[tuple[ImageId, int], float] = {}
    for activity in activities:
        for work in activity.work:
            key = (work.image_id, work.attempt)
            units[key] = units.get(key, 0.0) + work.units
    if not units:
        return ()
    attempts = sorted(units)
    parts = divide(segment.millijoules, [units[attempt] for attempt in attempts])
    return tuple(
        Share(
            image_id=image_id,
            attempt=attempt,
            millijoules=part,
            error_millijoules=_error_of_part(segment, part, len(parts)),
        )
        for (image_id, attempt), part in zip(attempts, parts, strict=True)
    )


def _error_of_part(segment: Segment, part: int, part_count: int) -> int:
    """The segment's error in proportion; an even part of it where nothing was counted."""
    fraction = part / segment.millijoules if segment.millijoules else 1 / part_count
    return ceil(segment.error_millijoules * fraction)
