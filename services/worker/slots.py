"""Who may draw: batch slots, interactive slots, and tokens that wait in their threads for one.

A token waits for whichever comes first: a free batch slot, or an interactive image while an
interactive slot is free. An image that must run alone is claimed when nothing else is in flight,
and nothing else is claimed until it ends. While one waits no batch image joins what runs, so that
the worker becomes empty for it; once it is overdue, no interactive image does either.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from threading import Condition
from typing import Final

# A waiting token looks up this often, in case it was told nothing.
_LOOK_SECONDS: Final = 1.0


class Slot(Enum):
    """What a token got to draw with."""

    BATCH = auto()
    INTERACTIVE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCounts:
    """What the heartbeat tells of the slots."""

    batch_slots_free: int
    interactive_slots_free: int
    waiting_tokens: int


class Slots:
    """The slots of one worker; safe for its threads."""

    def __init__(self, *, batch_slots: int, interactive_slots: int) -> None:
        self._changed = Condition()
        self._batch_slots_free = batch_slots
        self._interactive_slots_free = interactive_slots
        self._slots = batch_slots + interactive_slots
        self._waiting_tokens = 0
        self._interactive_images_waiting = 0
        self._alone_images_waiting = 0
        self._alone_image_overdue = False
        self._alone = False
        self._claiming = False
        self._draining = False

    def limit_batch_slots(self, images_max: int) -> None:
        """Keep no more batch slots than that; before the first token waits."""
        with self._changed:
            assert not self._waiting_tokens
            surplus = max(0, self._batch_slots_free - images_max)
            self._batch_slots_free -= surplus
            self._slots -= surplus

    def wait_for_slot(self) -> Slot | None:
        """Wait until this token may claim; None when the worker drains.

        The caller holds the right to claim alone until it calls ``claimed`` or ``refused``: two
        tokens never ask the recorder at once, or an image that must run alone might get company.
        """
        with self._changed:
            self._waiting_tokens += 1
            try:
                while not self._draining:
                    slot = self._take_slot()
                    if slot is not None:
                        return slot
                    self._changed.wait(_LOOK_SECONDS)
                return None
            finally:
                self._waiting_tokens -= 1

    @property
    def nothing_in_flight(self) -> bool:
        """Whether the token that is about to claim holds the only slot taken."""
        with self._changed:
            return self._batch_slots_free + self._interactive_slots_free == self._slots - 1

    def claimed(self, *, alone: bool) -> None:
        """An image was handed out: the next token may claim, unless this one must be alone."""
        with self._changed:
            self._claiming = False
            self._alone = alone
            if alone:
                self._alone_images_waiting = max(self._alone_images_waiting - 1, 0)
                self._alone_image_overdue = False
            self._changed.notify_all()

    def refused(self, slot: Slot) -> None:
        """Nothing was handed out: the slot is free again."""
        with self._changed:
            self._claiming = False
            if slot is Slot.INTERACTIVE:
                # Somebody else got it; the next heartbeat tells of new ones.
                self._interactive_images_waiting = 0
            else:
                self._alone_images_waiting = 0
                self._alone_image_overdue = False
            self._put_back(slot)

    def free(self, slot: Slot, *, alone: bool) -> None:
        """The pixels have left the GPU."""
        with self._changed:
            if alone:
                self._alone = False
            self._put_back(slot)

    def tell_interactive(self, images_waiting: int) -> None:
        """Interactive images wait to be claimed, says the recorder."""
        with self._changed:
            self._interactive_images_waiting = images_waiting
            if images_waiting:
                self._changed.notify_all()

    def tell_alone(self, images_waiting: int, *, overdue: bool) -> None:
        """Images wait that must run alone, says the recorder; one of them for too long."""
        with self._changed:
            self._alone_images_waiting = images_waiting
            self._alone_image_overdue = overdue
            self._changed.notify_all()

    def drain(self) -> None:
        """No token gets a slot any more; those that wait end."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def counts(self) -> SlotCounts:
        with self._changed:
            return SlotCounts(
                batch_slots_free=self._batch_slots_free,
                interactive_slots_free=self._interactive_slots_free,
                waiting_tokens=self._waiting_tokens,
            )

    def _take_slot(self) -> Slot | None:
        if self._claiming or self._alone:
            return None
        if self._batch_slots_free and not self._becomes_empty():
            self._batch_slots_free -= 1
            self._claiming = True
            return Slot.BATCH
        if (
            self._interactive_slots_free
            and self._interactive_images_waiting
            and not (self._alone_image_overdue and self._becomes_empty())
        ):
            self._interactive_slots_free -= 1
            self._claiming = True
            return Slot.INTERACTIVE
        return None

    def _becomes_empty(self) -> bool:
        slots_free = self._batch_slots_free + self._interactive_slots_free
        return self._alone_images_waiting > 0 and slots_free < self._slots

    def _put_back(self, slot: Slot) -> None:
        if slot is Slot.BATCH:
            self._batch_slots_free += 1
        else:
            self._interactive_slots_free += 1
        self._changed.notify_all()


@contextmanager
def freed_afterwards(slots: Slots, slot: Slot, *, alone: bool) -> Generator[None]:
    """Free the slot at the end of the block, however it ends."""
    try:
        yield
    finally:
        slots.free(slot, alone=alone)
