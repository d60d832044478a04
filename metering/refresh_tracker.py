"""When a counter moved that moves only now and then, and when it pays to look at it again.

An NVIDIA GPU's energy counter moves every 100 ms or so, at a phase of its own, and a look at it
takes milliseconds: a reading is only as good as the moment it is taken to be true at. At 690 W a
moment that is off by 25 ms is 17 J. But the moves come at even intervals, so each look that fell
before or behind one narrows down all the others, like the bisection of a root: after a few periods
the moment of every move is known to a few milliseconds, with no more looks than before.

Pure: whoever looks tells when. Times are CLOCK_MONOTONIC in nanoseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final

from metering.energy import Reading

_MS: Final = 1_000_000
# At 20 looks a second a move of a shorter period cannot be bracketed by two looks of its own, so
# that nobody would notice a wrong guess; its moments are left as uncertain as they are.
_FOLLOWED_PERIOD_NANOS_MIN: Final = 60 * _MS
_LOOK_NANOS: Final = 50 * _MS
# While nobody works, the counter only has to be seen often enough for idle time.
_CALM_LOOK_NANOS: Final = 1_000 * _MS
# What is known of the next move is less by this than what is known of the last: moves come a little
# early or late, and as long as it has not been learned, a period itself is known only so well.
_JITTER_NANOS: Final = _MS // 5
_UNLEARNED_JITTER_NANOS: Final = 1 * _MS
# Narrower than this a look, which itself takes some milliseconds, tells nothing more.
_NARROW_NANOS: Final = 12 * _MS
# A look so long before a move is over when it comes.
_EARLY_NANOS: Final = 6 * _MS
# Behind the last moment at which a move is due, to see it for certain.
_MARGIN_NANOS: Final = 1 * _MS
# From so many periods on the moves themselves tell how long one is.
_PERIODS_MIN: Final = 20
# So well a period is known that was stated or measured, relative.
_PERIOD_ERROR: Final = 0.05
# A counter of a device that draws power and still does not move has stalled: what it counts comes
# with its next move. After so long its standing still is believed.
_STALL_NANOS: Final = 10_000 * _MS
# Looked at without a pause for so long, a counter tells how often it moves.
_MEASURED_NANOS: Final = 500 * _MS
_MEASURED_MOVES_MIN: Final = 4


def measure_period_nanos(
    read: Callable[[], int], *, now: Callable[[], int], unknown_nanos: int
) -> int:
    """Look as fast as it goes for half a second; return the mean time between two moves.

    Where the counter moves less than four times in it, ``unknown_nanos``.
    """
    end_nanos = now() + _MEASURED_NANOS
    last_millijoules = read()
    moves_nanos: list[int] = []
    while (before_nanos := now()) < end_nanos:
        millijoules = read()
        if millijoules != last_millijoules:
            moves_nanos.append((before_nanos + now()) // 2)
            last_millijoules = millijoules
    if len(moves_nanos) < _MEASURED_MOVES_MIN:
        return unknown_nanos
    return (moves_nanos[-1] - moves_nanos[0]) // (len(moves_nanos) - 1)


@dataclass(frozen=True, slots=True)
class _Span:
    """Between these two moments."""

    low: int
    high: int

    @property
    def middle(self) -> int:
        return (self.low + self.high) // 2

    @property
    def width(self) -> int:
        return self.high - self.low

    def cut(self, other: "_Span") -> "_Span | None":
        low, high = max(self.low, other.low), min(self.high, other.high)
        return _Span(low, high) if low <= high else None


@dataclass(frozen=True, slots=True)
class _Look:
    before_nanos: int
    after_nanos: int
    millijoules: int


class RefreshTracker:
    """Follows one counter's moves; ``period_nanos`` is what is known of their interval."""

    def __init__(self, *, period_nanos: int) -> None:
        assert period_nanos > 0
        self.period_nanos = float(period_nanos)
        self._stated_nanos = period_nanos
        self._jitter_nanos = _UNLEARNED_JITTER_NANOS
        self._last: _Look | None = None
        self._told_nanos = 0
        # Within which the counter moved last, and within which it will move next.
        self._move = _Span(0, 0)
        self._due = _Span(0, 0)
        # The move from which on periods are counted.
        self._first_move = _Span(0, 0)
        self._period_count = 0

    def look(self, *, before_nanos: int, after_nanos: int, millijoules: int) -> Reading | None:
        """Take what a look showed that began and ended at these moments.

        Returns:
            A reading at the moment of the counter's last move, if it moved since the last look.
        """
        last, look = self._last, _Look(before_nanos, after_nanos, millijoules)
        self._last = look
        if last is None:
            self._lock(self._bracket(look, since_nanos=before_nanos - round(self.period_nanos)))
        elif last.millijoules == millijoules:
            return self._take_stillness(look)
        else:
            self._take_move(last, look)
        self._told_nanos = self._move.middle
        return Reading(self._move.middle, millijoules, self._move.width / sqrt(12))

    def next_look_nanos(self, *, eager: bool, earliest_nanos: int = 0) -> int:
        """Return when to look next; not ``eager``, about a look a second is enough."""
        wanted_nanos = self._wanted_nanos(eager=eager)
        return (
            wanted_nanos if wanted_nanos >= earliest_nanos else self._behind_a_move(earliest_nanos)
        )

    def _wanted_nanos(self, *, eager: bool) -> int:
        if self._last is None:
            return 0
        before_nanos = self._last.before_nanos
        if not eager:
            return self._behind_a_move(before_nanos + _CALM_LOOK_NANOS)
        if not self._is_followed:
            return before_nanos + _LOOK_NANOS
        due = self._due
        is_narrow = due.width <= _NARROW_NANOS
        # Nothing must have moved yet shortly before: else moves come earlier than was thought.
        first = due.low - _EARLY_NANOS if is_narrow else due.middle
        if before_nanos >= first - _MARGIN_NANOS:
            return due.high + _MARGIN_NANOS
        if is_narrow:
            # Two looks at a move; where moves come faster than that, some are left out.
            wanted_nanos = before_nanos + 2 * _LOOK_NANOS - 2 * _EARLY_NANOS - due.width
            first += round(
                max(0, ceil((wanted_nanos - first) / self.period_nanos)) * self.period_nanos
            )
        return first

    @property
    def _is_followed(self) -> bool:
        return self.period_nanos >= _FOLLOWED_PERIOD_NANOS_MIN

    def _bracket(self, look: _Look, *, since_nanos: int) -> _Span:
        """Within which the counter moved last, by this look and the moment of the one before."""
        low = max(look.before_nanos - round(self.period_nanos), since_nanos)
        return _Span(min(low, look.after_nanos), look.after_nanos)

    def _take_move(self, last: _Look, look: _Look) -> None:
        bracket = self._bracket(look, since_nanos=last.before_nanos)
        # The moves that have come for certain, and those that may have, behind the one known.
        certain = max(0, self._periods_to(look.before_nanos - self._due.high))
        possible = max(0, self._periods_to(look.after_nanos - self._due.low))
        move = self._due_after(certain).cut(bracket) if certain == possible else None
        if move is None or not self._is_followed:
            self._lock(bracket)
        else:
            self._go_on(move, certain + 1)

    def _take_stillness(self, look: _Look) -> Reading | None:
        """The next move is still to come; a long stillness is a reading itself."""
        if look.before_nanos > self._due.high:
            self._due = _Span(look.before_nanos, look.before_nanos + round(self.period_nanos))
        else:
            self._due = _Span(max(self._due.low, look.before_nanos), self._due.high)
        if look.before_nanos - self._told_nanos < _STALL_NANOS:
            return None
        self._told_nanos = look.before_nanos
        return Reading(look.before_nanos, look.millijoules, self.period_nanos / sqrt(12))

    def _periods_to(self, nanos: float) -> int:
        return int(nanos // self.period_nanos)

    def _due_after(self, periods: int) -> _Span:
        way, slack = round(periods * self.period_nanos), periods * self._jitter_nanos
        return _Span(self._due.low + way - slack, self._due.high + way + slack)

    def _lock(self, move: _Span) -> None:
        """Begin anew from a move that is known only this well."""
        self._move = self._first_move = move
        self._period_count = 0
        self._expect()

    def _go_on(self, move: _Span, periods: int) -> None:
        self._move = move
        self._period_count += periods
        self._learn_period()
        self._expect()

    def _expect(self) -> None:
        period = round(self.period_nanos)
        self._due = _Span(
            self._move.low + period - self._jitter_nanos,
            self._move.high + period + self._jitter_nanos,
        )

    def _learn_period(self) -> None:
        """The longer the moves are followed, the better it is known how far they lie apart."""
        if self._move.width > _NARROW_NANOS:
            return
        if self._first_move.width > _NARROW_NANOS:
            self._first_move, self._period_count = self._move, 0
        elif self._period_count >= _PERIODS_MIN:
            learned = (self._move.middle - self._first_move.middle) / self._period_count
            # A move that was counted twice, or not at all, must not change the pace for good.
            is_likely = abs(learned - self._stated_nanos) <= _PERIOD_ERROR * self._stated_nanos
            self.period_nanos = learned if is_likely else float(self._stated_nanos)
            self._jitter_nanos = _JITTER_NANOS if is_likely else _UNLEARNED_JITTER_NANOS
            if not is_likely:
                self._first_move, self._period_count = self._move, 0

    def _behind_a_move(self, earliest_nanos: int) -> int:
        """Return the first moment from ``earliest_nanos`` on that lies right behind a move."""
        if not self._is_followed:
            return earliest_nanos
        due = self._due_after(max(0, self._periods_to(earliest_nanos - self._due.middle)))
        moment = due.high + _MARGIN_NANOS
        return moment if moment >= earliest_nanos else round(moment + self.period_nanos)
