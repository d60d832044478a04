"""What this worker holds: every attempt from its claim until the recorder has answered for it."""

from dataclasses import dataclass
from enum import Enum, auto
from threading import Condition, Event, Lock
from time import monotonic
from typing import Final

from services.engine.image_spec import AttemptKey
from services.worker.work import HeldAttempt, HeldProgress, Truth

# A hurry is noticed within this time.
_LOOK_SECONDS: Final = 0.25


class CancelReason(Enum):
    """Why an attempt was stopped before its picture was drawn."""

    # Its tenant wishes so: the recorder is told.
    WISHED = auto()
    # It is not ours any more: nobody wants to hear of it.
    INVALID = auto()
    # The worker drains: it goes back into the queue.
    DRAINED = auto()


@dataclass(slots=True, kw_only=True)
class _Held:
    held: HeldAttempt
    step: int = 0
    step_count: int = 0
    preview: bytes = b""
    cancel_reason: CancelReason | None = None
    step_when_cancelled: int = 0


class InFlight:
    """The held attempts; safe for the worker's threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._emptied = Condition(self._lock)
        self._held: dict[AttemptKey, _Held] = {}

    def add(self, held: HeldAttempt) -> None:
        with self._lock:
            self._held[held.key] = _Held(held=held)

    def remove(self, key: AttemptKey) -> None:
        with self._lock:
            self._held.pop(key, None)
            self._emptied.notify_all()

    def note_progress(self, key: AttemptKey, *, step: int, step_count: int, preview: bytes) -> bool:
        """Keep the newest progress; True when it was the attempt's first."""
        with self._lock:
            entry = self._held.get(key)
            if entry is None:
                return False
            is_first = entry.step_count == 0
            entry.step, entry.step_count = step, step_count
            entry.preview = preview or entry.preview
            return is_first

    def progress(self) -> list[HeldProgress]:
        """Every held attempt with its progress; each preview is told once."""
        with self._lock:
            told = [
                HeldProgress(
                    held=entry.held,
                    step=entry.step,
                    step_count=entry.step_count,
                    preview=entry.preview,
                )
                for entry in self._held.values()
            ]
            for entry in self._held.values():
                entry.preview = b""
        return told

    def mark_cancelled(self, truth: Truth) -> list[AttemptKey]:
        """Note why attempts have to stop; return those that did not have to before."""
        with self._lock:
            return [
                *self._mark(truth.invalid_attempts, CancelReason.INVALID),
                *self._mark(truth.cancel_wishes, CancelReason.WISHED),
            ]

    def mark_all_drained(self) -> list[AttemptKey]:
        """All that is held has to go back; return what did not have to stop before."""
        with self._lock:
            return self._mark(frozenset(self._held), CancelReason.DRAINED)

    def cancel_reason(self, key: AttemptKey) -> CancelReason | None:
        with self._lock:
            entry = self._held.get(key)
            return entry.cancel_reason if entry else None

    def steps_since_cancel(self, key: AttemptKey) -> int:
        """Count the steps done since it was known that the attempt has to stop."""
        with self._lock:
            entry = self._held.get(key)
            if entry is None or entry.cancel_reason is None:
                return 0
            return entry.step - entry.step_when_cancelled

    def count(self) -> int:
        with self._lock:
            return len(self._held)

    def wait_until_empty(self, timeout_seconds: float) -> bool:
        """Wait until nothing is held; whether that came true in time."""
        with self._lock:
            return self._emptied.wait_for(lambda: not self._held, timeout_seconds)

    def wait_unless(self, hurry: Event, *, timeout_seconds: float) -> bool:
        """Wait until nothing is held, at most so long, and no longer once there is a hurry."""
        deadline = monotonic() + timeout_seconds
        while not hurry.is_set() and (left_seconds := deadline - monotonic()) > 0:
            if self.wait_until_empty(min(left_seconds, _LOOK_SECONDS)):
                return True
        return self.wait_until_empty(0.0)

    def _mark(self, keys: frozenset[AttemptKey], reason: CancelReason) -> list[AttemptKey]:
        marked: list[AttemptKey] = []
        for key in keys:
            entry = self._held.get(key)
            if entry is not None and entry.cancel_reason is None:
                entry.cancel_reason = reason
                entry.step_when_cancelled = entry.step
                marked.append(key)
        return marked
