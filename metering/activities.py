"""What happened on a GPU, moment by moment: sessions and their marks as contiguous activities."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from metering.energy import Activity
from metering.power import AttemptWork, LearnedPower, SegmentKind
from metering.presence import Presence

_SECOND_NANOS: Final = 1_000_000_000
_HOUR_NANOS: Final = 3600 * _SECOND_NANOS
# Between two marks the engine's own loop runs; a pause shorter than this belongs to the mark behind
# it, else every step of some milliseconds would cost two segments.
_PAUSE_NANOS_MAX: Final = 5_000_000


class _Stretch(NamedTuple):
    """A stretch of time before it is cut at hours and given its power."""

    start_nanos: int
    end_nanos: int
    kind: SegmentKind
    presence: Presence | None = None
    # The session's marks up to this number have ended when the stretch begins, and when it ends.
    number_before: int = 0
    number_after: int = 0
    work: tuple[AttemptWork, ...] = ()


def activities_between(
    *,
    start_nanos: int,
    known_from_nanos: int,
    end_nanos: int,
    covered_nanos: int,
    presences: Sequence[Presence],
    power: LearnedPower,
    wall_offset_nanos: int,
) -> list[Activity]:
    """Return what happened from start to end, without gaps, cut at UTC hours.

    Before ``known_from_nanos`` nobody looked. Idle time is also cut at ``covered_nanos``, the last
    usable reading, so that it can be closed up to there; a mark is never cut there.
    """
    stretches = _stretches(start_nanos, known_from_nanos, end_nanos, presences)
    return [
        _activity(piece, power, wall_offset_nanos)
        for stretch in stretches
        for piece in _cut(stretch, covered_nanos, wall_offset_nanos)
    ]


def _stretches(
    start_nanos: int, known_from_nanos: int, end_nanos: int, presences: Sequence[Presence]
) -> Iterator[_Stretch]:
    position = start_nanos
    if position < known_from_nanos:
        yield _Stretch(position, known_from_nanos, SegmentKind.UNKNOWN)
        position = known_from_nanos
    for presence in presences:
        if presence.start_nanos >= end_nanos:
            break
        if position < presence.start_nanos:
            yield _Stretch(position, presence.start_nanos, SegmentKind.FREE)
            position = presence.start_nanos
        until_nanos = end_nanos if presence.end_nanos is None else presence.end_nanos
        for stretch in _stretches_of(presence, position, min(until_nanos, end_nanos)):
            yield stretch
            position = stretch.end_nanos
        if position < min(until_nanos, end_nanos):
            # A mark ends after what is settled: it is not begun before it can be closed.
            return
    if position < end_nanos:
        yield _Stretch(position, end_nanos, SegmentKind.FREE)


def _stretches_of(presence: Presence, position: int, until_nanos: int) -> Iterator[_Stretch]:
    """Yield a session's time up to ``until_nanos``, or to the start of a mark that ends later."""
    number = presence.closed_mark_number
    for mark in presence.marks:
        if mark.start_nanos >= until_nanos:
            break
        begin = max(position, mark.start_nanos)
        is_whole = mark.end_nanos <= until_nanos
        if not is_whole or begin - position >= _PAUSE_NANOS_MAX:
            if position < begin:
                yield _parked(presence, position, begin, number)
            position = begin
        if not is_whole:
            return
        after = max(number, mark.number)
        if position < mark.end_nanos:
            yield _Stretch(position, mark.end_nanos, mark.kind, presence, number, after, mark.work)
            position = mark.end_nanos
        number = after
    if position < until_nanos:
        yield _parked(presence, position, until_nanos, number)


def _parked(presence: Presence, start_nanos: int, end_nanos: int, number: int) -> _Stretch:
    return _Stretch(start_nanos, end_nanos, SegmentKind.PARKED, presence, number, number)


def _cut(stretch: _Stretch, covered_nanos: int, wall_offset_nanos: int) -> Iterator[_Stretch]:
    """Cut at UTC hours; work is divided by time, and its mark is done only with the last piece."""
    position = stretch.start_nanos
    for end in _ends(stretch, covered_nanos, wall_offset_nanos):
        fraction = (end - position) / (stretch.end_nanos - stretch.start_nanos)
        is_last = end == stretch.end_nanos
        yield stretch._replace(
            start_nanos=position,
            end_nanos=end,
            number_after=stretch.number_after if is_last else stretch.number_before,
            work=tuple(part._replace(units=part.units * fraction) for part in stretch.work),
        )
        position = end


def _ends(stretch: _Stretch, covered_nanos: int, wall_offset_nanos: int) -> list[int]:
    first_hour = (stretch.start_nanos + wall_offset_nanos) // _HOUR_NANOS + 1
    first_end = first_hour * _HOUR_NANOS - wall_offset_nanos
    ends = {*range(first_end, stretch.end_nanos, _HOUR_NANOS), stretch.end_nanos}
    is_mark = stretch.kind in (SegmentKind.WORK, SegmentKind.LOAD)
    if not is_mark and stretch.start_nanos < covered_nanos < stretch.end_nanos:
        ends.add(covered_nanos)
    return sorted(ends)


def _activity(stretch: _Stretch, power: LearnedPower, wall_offset_nanos: int) -> Activity:
    presence = stretch.presence
    duration_nanos = stretch.end_nanos - stretch.start_nanos
    return Activity(
        start_nanos=stretch.start_nanos,
        end_nanos=stretch.end_nanos,
        power=power.of(stretch.kind, stretch.work, duration_nanos),
        kind=stretch.kind,
        tenant_id=presence.tenant_id if presence else None,
        session_id=presence.session_id if presence else None,
        last_mark_number=stretch.number_after,
        work=stretch.work,
        hour=(stretch.start_nanos + wall_offset_nanos) // _HOUR_NANOS,
    )
