"""The meter in this very process: its reader, its timeline, and a worker's marks; no sockets."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic_ns
from typing import Final

from metering.energy import Reading
from metering.energy_records import EnergySegment, LastReading, SegmentBatch
from metering.errors import CounterError
from metering.power import AttemptWork, SegmentKind
from metering.presence import Mark
from services.engine import marks as engine_marks
from services.meter.counter_reader import CounterReader
from services.meter.devices import Device
from services.meter.metered_gpu import MeteredGpu
from tenants.ids import GpuId, ImageId, SessionId, TenantId

SESSION: Final = SessionId("benchmark")
_MESSAGE_SECONDS: Final = 0.05
# The engine reads the clock a moment before it says that something began.
_BEGIN_SLACK_NANOS: Final = 20_000_000
_KINDS: Final = {
    engine_marks.MarkKind.LOAD: SegmentKind.LOAD,
    engine_marks.MarkKind.WARM_UP: SegmentKind.LOAD,
}


@dataclass(slots=True)
class Books:
    """A recorder that keeps what it is sent."""

    batches: list[SegmentBatch] = field(default_factory=list[SegmentBatch])

    @property
    def segments(self) -> list[EnergySegment]:
        return [segment for batch in self.batches for segment in batch.segments]

    async def last_reading(self, gpu_id: GpuId) -> LastReading | None:
        """There was no meter before."""
        return None

    async def record_segments(self, batch: SegmentBatch) -> int:
        self.batches.append(batch)
        return batch.segments[-1].number


class LocalMeter:
    """Meters one device from `start` to `stop`; it is the engine's MarkSink too."""

    def __init__(self, device: Device) -> None:
        self.books = Books()
        self.marks: list[engine_marks.Mark] = []
        self.readings: list[Reading] = []
        self.cpu_seconds = 0.0
        self._gpu = MeteredGpu(device, self.books)
        self._reader = CounterReader()
        self._device = device
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="meter", daemon=True)
        self._started = Event()
        self._is_present = False
        self._running_since_nanos: int | None = None

    def start(self) -> None:
        self._thread.start()
        self._started.wait()
        self._reader.start()
        self._reader.watch(
            self._device,
            is_busy=lambda: self._gpu.has_worker,
            deliver=lambda reading: self._soon(self._take, reading),
            report=lambda error: self._soon(self._report, error),
        )

    def arrive(self) -> None:
        """A worker comes."""
        now_nanos = monotonic_ns()
        self._soon(lambda: self._gpu.arrive(SESSION, TenantId("bench"), earliest_nanos=now_nanos))
        self._is_present = True

    def stop(self) -> float:
        """Close the timeline; return the reader's and the meter's CPU seconds."""
        reader_cpu_seconds = _cpu_seconds_of(self._reader)
        self._reader.stop()
        self._reader.join()
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result()
        self.cpu_seconds = reader_cpu_seconds + _cpu_seconds_of(self._thread)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        return self.cpu_seconds

    # ------------------------------------------------------------ what the engine thread calls

    def begin(self, kind: engine_marks.MarkKind, start_nanos: int) -> None:
        self._running_since_nanos = start_nanos

    def end(self, mark: engine_marks.Mark) -> None:
        self.marks.append(mark)
        self._running_since_nanos = None
        self._soon(lambda: self._hear([_metering_mark(mark)], mark.start_nanos))

    # ------------------------------------------------------------ the meter's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._gpu.start())
        duties = [
            self._loop.create_task(self._gpu.deliver()),
            self._loop.create_task(self._speak()),
        ]
        self._started.set()
        self._loop.run_forever()
        for duty in duties:
            duty.cancel()
        self._loop.run_until_complete(asyncio.gather(*duties, return_exceptions=True))
        self._loop.close()

    async def _speak(self) -> None:
        """Say how far the worker's time is settled, as its client does."""
        while True:
            if self._is_present:
                running = self._running_since_nanos
                quiet = monotonic_ns() - _BEGIN_SLACK_NANOS
                self._hear([], quiet if running is None else min(running, quiet))
            await asyncio.sleep(_MESSAGE_SECONDS)

    async def _finish(self) -> None:
        self._gpu.leave(SESSION, orderly=True)
        await self._gpu.finish()
        await self._gpu.drain()

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(call, *arguments)

    def _take(self, reading: Reading) -> None:
        self.readings.append(reading)
        self._gpu.take(reading)

    def _report(self, error: CounterError) -> None:
        self._gpu.report(error)

    def _hear(self, marks: Sequence[Mark], watermark_nanos: int) -> None:
        self._gpu.hear(SESSION, list(marks), watermark_nanos=watermark_nanos)


def _metering_mark(mark: engine_marks.Mark) -> Mark:
    return Mark(
        mark.start_nanos,
        mark.end_nanos,
        mark.number,
        _KINDS.get(mark.kind, SegmentKind.WORK),
        tuple(AttemptWork(ImageId(key.image_id), key.attempt, units) for key, units in mark.work),
    )


def _cpu_seconds_of(thread: Thread) -> float:
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
