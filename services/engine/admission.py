"""Who takes part in the next denoising step: the admission policy, without any arithmetic.

The rules, decided anew at every step boundary:

1. Interactive images come first; among equals the longest waiting.
2. Only images with the same compatibility key can share a step. Batch images take turns by key:
   a turn begins with the longest waiting image and fills the slots with others of its key; while
   it lasts, a freed slot goes to a newcomer only if nobody of another key has waited longer.
3. An interactive image overtakes: the batch keeps its slots and waits, unless the keys agree and
   they share the step. After `OVERTAKEN_STEPS_MAX` such steps in a row the batch gets one.
4. An image that must be alone is admitted when nothing is in flight, and nothing is admitted
   beside it. From the moment it is its turn nothing else is admitted, so it cannot starve.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.engine.image_spec import AttemptKey, CompatibilityKey

# A stream of interactive images slows by a 16th at most, and a batch always moves on.
OVERTAKEN_STEPS_MAX: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """What the policy knows of one image."""

    key: AttemptKey
    group: CompatibilityKey
    interactive: bool
    alone: bool
    order: int = 0
    """Place in the order of arrival; given by `Admission.add`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """Who is new, and who takes part (the new ones included)."""

    admitted: tuple[AttemptKey, ...]
    taking_part: tuple[AttemptKey, ...]


class Admission:
    """The images waiting and in flight in one engine. Not for several threads."""

    def __init__(self, *, batch_slots: int, interactive_slots: int) -> None:
        assert batch_slots >= 1
        assert interactive_slots >= 1, "without one, interactive images could starve the batch"
        self.batch_slots = batch_slots
        self.interactive_slots = interactive_slots
        self._waiting: dict[AttemptKey, Entrant] = {}
        self._in_flight: dict[AttemptKey, Entrant] = {}
        self._arrivals = 0
        self._overtaken_steps = 0

    @property
    def waiting(self) -> tuple[AttemptKey, ...]:
        return tuple(self._waiting)

    @property
    def in_flight(self) -> tuple[AttemptKey, ...]:
        return tuple(self._in_flight)

    def add(self, entrant: Entrant) -> None:
        assert entrant.key not in self._waiting
        assert entrant.key not in self._in_flight
        self._arrivals += 1
        self._waiting[entrant.key] = replace(entrant, order=self._arrivals)

    def remove(self, key: AttemptKey) -> None:
        """Drawn, cancelled or failed: its slot is free at the next boundary."""
        self._waiting.pop(key, None)
        self._in_flight.pop(key, None)

    def next_step(self) -> NextStep | None:
        """Admit whom the rules admit and say who takes part; nothing to do: None."""
        before = set(self._in_flight)
        self._admit()
        leader = self._choose_leader()
        if leader is None:
            return None
        taking_part = tuple(e for e in self._in_flight.values() if e.group == leader.group)
        self._count_overtaken(taking_part)
        return NextStep(
            admitted=tuple(key for key in self._in_flight if key not in before),
            taking_part=tuple(e.key for e in taking_part),
        )

    def _admit(self) -> None:
        turn_begins = not self._batch_in_flight()
        while (entrant := self._next_admitted(turn_begins=turn_begins)) is not None:
            del self._waiting[entrant.key]
            self._in_flight[entrant.key] = entrant

    def _next_admitted(self, *, turn_begins: bool) -> Entrant | None:
        if any(e.alone for e in self._in_flight.values()):
            return None
        interactive = oldest(e for e in self._waiting.values() if e.interactive)
        batch = self._next_of_the_turn(turn_begins=turn_begins)
        if lonely := oldest(e for e in (interactive, batch) if e is not None and e.alone):
            return None if self._in_flight else lonely
        if interactive is not None and self._has_interactive_slot():
            return interactive
        return batch if self._has_batch_slot() else None

    def _next_of_the_turn(self, *, turn_begins: bool) -> Entrant | None:
        """The batch image that comes next, whether a slot is free or not (rule 2)."""
        waiting = [e for e in self._waiting.values() if not e.interactive]
        running = self._batch_in_flight()
        longest_waiting = oldest(waiting)
        if not running:
            return longest_waiting
        mate = oldest(e for e in waiting if e.group == running[0].group and not e.alone)
        return mate if turn_begins or mate is longest_waiting else None

    def _batch_in_flight(self) -> list[Entrant]:
        return [e for e in self._in_flight.values() if not e.interactive]

    def _has_batch_slot(self) -> bool:
        return len(self._batch_in_flight()) < self.batch_slots and self._has_slot()

    def _has_interactive_slot(self) -> bool:
        """Interactive images borrow batch slots too, as long as no batch image wants them."""
        interactive = len(self._in_flight) - len(self._batch_in_flight())
        batch_waits = any(not e.interactive for e in self._waiting.values())
        return interactive < self.interactive_slots or (not batch_waits and self._has_slot())

    def _has_slot(self) -> bool:
        return len(self._in_flight) < self.batch_slots + self.interactive_slots

    def _choose_leader(self) -> Entrant | None:
        interactive = oldest(e for e in self._in_flight.values() if e.interactive)
        batch = oldest(e for e in self._in_flight.values() if not e.interactive)
        if batch is not None and self._overtaken_steps >= OVERTAKEN_STEPS_MAX:
            return batch
        return interactive or batch

    def _count_overtaken(self, taking_part: Sequence[Entrant]) -> None:
        batch_waits = any(not e.interactive for e in self._in_flight.values())
        overtaken = batch_waits and all(e.interactive for e in taking_part)
        self._overtaken_steps = self._overtaken_steps + 1 if overtaken else 0


def oldest(entrants: Iterable[Entrant]) -> Entrant | None:
    """The longest waiting of them, if there is one."""
    return min(entrants, key=lambda e: e.order, default=None)
