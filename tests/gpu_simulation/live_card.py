"""A simulated card in real time: it draws power while an engine of this process works.

It stands before the meter as the engine's MarkSink and behind it as its driver.
"""

import random
import time
from threading import Lock
from time import monotonic_ns

from services.engine.marks import Mark, MarkKind, MarkSink
from tests.gpu_simulation.card import SimulatedCard
from tests.gpu_simulation.fake_pynvml import CounterHabits, FakePynvml

# Of full power, by what is done.
_SHARES = {MarkKind.TEXT_ENCODE: 0.4, MarkKind.VAE_DECODE: 0.7, MarkKind.LOAD: 0.05}


class LiveCard:
    """The card, moved on to the present whenever anybody looks."""

    def __init__(self, *, seed: int = 1) -> None:
        self._card = SimulatedCard(random.Random(seed), has_process=False)
        self._start_nanos = monotonic_ns()
        self._lock = Lock()
        self.driver = FakePynvml(
            self._card, CounterHabits(), now=self.now, spend=lambda nanos: time.sleep(nanos / 1e9)
        )

    def now(self) -> int:
        """Nanoseconds of the card's own time."""
        with self._lock:
            nanos = monotonic_ns() - self._start_nanos
            self._card.rest_until(nanos)
            return nanos

    def take_process(self) -> None:
        self.now()
        self._card.has_process = True

    def millijoules_between(self, start_nanos: int, end_nanos: int) -> float:
        """The truth, between two readings of CLOCK_MONOTONIC."""
        start, end = start_nanos - self._start_nanos, end_nanos - self._start_nanos
        return self._card.energy_at(end) - self._card.energy_at(start)

    def watched(self, sink: MarkSink) -> MarkSink:
        """Pass an engine's marks on, and draw power by them."""
        return _WatchedMarks(self, sink)

    def work(self, kind: MarkKind | None) -> None:
        self.now()
        with self._lock:
            self._card.load(kind, share=_SHARES.get(kind, 1.0) if kind else 1.0)


class _WatchedMarks:
    def __init__(self, card: LiveCard, sink: MarkSink) -> None:
        self._card = card
        self._sink = sink

    def begin(self, kind: MarkKind, start_nanos: int) -> None:
        self._card.work(kind)
        self._sink.begin(kind, start_nanos)

    def end(self, mark: Mark) -> None:
        self._card.work(None)
        self._sink.end(mark)
