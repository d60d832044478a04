"""Marks: what the engine tells the meter, from when to when it did what for whom."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic_ns
from typing import Protocol

from services.engine.image_spec import AttemptKey


class MarkKind(StrEnum):
    """What the device was busy with."""

    STEP = "STEP"
    TEXT_ENCODE = "TEXT_ENCODE"
    VAE_DECODE = "VAE_DECODE"
    LOAD = "LOAD"
    WARM_UP = "WARM_UP"
    PARKED = "PARKED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One stretch of work, between two readings of CLOCK_MONOTONIC in nanoseconds.

    `work` is modelled floating-point operations / 1e9 of each attempt that took part; it is
    empty for what is done for nobody in particular (load, warm-up). Numbers count up from 1
    over the life of one engine, loading included.
    """

    number: int
    kind: MarkKind
    start_nanos: int
    end_nanos: int
    work: tuple[tuple[AttemptKey, float], ...]


class MarkSink(Protocol):
    """Takes marks from the engine thread; must not block."""

    def begin(self, kind: MarkKind, start_nanos: int) -> None: ...

    def end(self, mark: Mark) -> None: ...


class MarkWriter:
    """Numbers the marks and reads the clock around the work."""

    def __init__(
        self, sink: MarkSink, *, finish_device_work: Callable[[], None], last_number: int = 0
    ) -> None:
        self._sink = sink
        self._finish_device_work = finish_device_work
        self.last_number = last_number
        self.last_seconds = 0.0

    @contextmanager
    def mark(
        self, kind: MarkKind, work: Mapping[AttemptKey, float] | None = None
    ) -> Iterator[None]:
        """Mark the block; it is marked too when it raises, since its energy was spent."""
        start_nanos = monotonic_ns()
        self._sink.begin(kind, start_nanos)
        try:
            yield
            # A GPU works on after the call returned: without waiting, its joules would be
            # booked on whoever comes next.
            self._finish_device_work()
        finally:
            end_nanos = monotonic_ns()
            self.last_number += 1
            self.last_seconds = (end_nanos - start_nanos) / 1e9
            self._sink.end(
                Mark(
                    number=self.last_number,
                    kind=kind,
                    start_nanos=start_nanos,
                    end_nanos=end_nanos,
                    work=tuple((work or {}).items()),
                )
            )
