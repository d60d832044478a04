"""The meter's own code over a simulated card and clock: what it makes of a worker's day."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt

from metering import nvml
from metering.cpu_energy import AttachedProcesses
from metering.energy_records import EnergySegment, LastReading, SegmentBatch
from metering.power import PowerModel
from metering.presence import Mark
from metering.refresh_tracker import measure_period_nanos
from services.meter.counter_reader import CounterWatch
from services.meter.devices import Device
from services.meter.metered_gpu import MeteredGpu
from tenants.ids import GpuId, ImageId, SessionId, TenantId
from tests.gpu_simulation.card import MS
from tests.gpu_simulation.fake_pynvml import FakePynvml, SimulatedClock
from tests.gpu_simulation.work import JOULES_PER_UNIT

SESSION = SessionId("session")
TENANT = TenantId("acme")
POWER = PowerModel(
    idle_watts=124.0, free_watts=85.0, load_watts=200.0, joules_per_work_unit=JOULES_PER_UNIT
)
# How often a busy worker speaks.
_MESSAGE_NANOS = 50 * MS
_HOUR_NANOS = 3600 * 10**9


@dataclass(slots=True)
class Books:
    """A recorder that keeps what it is sent, in order."""

    batches: list[SegmentBatch] = field(default_factory=list[SegmentBatch])

    @property
    def segments(self) -> list[EnergySegment]:
        return [segment for batch in self.batches for segment in batch.segments]

    @property
    def counted_millijoules(self) -> int:
        """By the readings alone."""
        return sum(
            batch.end_reading.millijoules - batch.start_reading.millijoules
            for batch in self.batches
        )

    async def last_reading(self, gpu_id: GpuId) -> LastReading | None:
        return None

    async def record_segments(self, batch: SegmentBatch) -> int:
        self.batches.append(batch)
        return batch.segments[-1].number

    def of_images(self) -> dict[ImageId, tuple[int, float]]:
        """Millijoules of each image, and one standard deviation, as the database adds them up."""
        found: dict[ImageId, tuple[int, float]] = {}
        for segment in self.segments:
            for share in segment.shares:
                energy, variance = found.get(share.image_id, (0, 0.0))
                found[share.image_id] = (
                    energy + share.millijoules,
                    variance + share.error_millijoules**2,
                )
        return {image: (energy, sqrt(variance)) for image, (energy, variance) in found.items()}


def metered(
    driver: FakePynvml,
    marks: Sequence[Mark],
    *,
    clock: SimulatedClock,
    seconds: float,
    power: PowerModel = POWER,
    happen: Callable[[int], None] = lambda _nanos: None,
) -> Books:
    """Let the meter watch so long, with a worker that tells these marks.

    ``happen`` is called before each look with the moment, so that things can go wrong.
    """
    simulation = _metered(driver, marks, clock=clock, seconds=seconds, power=power, happen=happen)
    return asyncio.run(simulation)


async def _metered(
    driver: FakePynvml,
    marks: Sequence[Mark],
    *,
    clock: SimulatedClock,
    seconds: float,
    power: PowerModel,
    happen: Callable[[int], None],
) -> Books:
    (counter,) = nvml.open_counters(driver)
    stated_nanos = counter.facts.refresh_nanos
    refresh_nanos = stated_nanos and measure_period_nanos(
        lambda: counter.read(clock.now()), now=clock.now, unknown_nanos=stated_nanos
    )
    device = Device(
        gpu_id=GpuId("gpu-0"),
        counter=counter,
        power=power,
        processes=AttachedProcesses(),
        poll_nanos=100 * MS,
        refresh_nanos=refresh_nanos,
        timing_nanos=refresh_nanos / sqrt(12),
        is_always_there=True,
    )
    books = Books()
    # The day begins in the middle of an hour.
    gpu = MeteredGpu(
        device,
        books,
        wall_clock_nanos=lambda: clock.now() + _HOUR_NANOS // 2,
        monotonic_clock_nanos=clock.now,
    )
    watch = CounterWatch(
        device,
        is_busy=lambda: gpu.has_worker,
        deliver=gpu.take,
        report=gpu.report,
        monotonic_clock_nanos=clock.now,
        wall_clock_nanos=lambda: clock.now() + _HOUR_NANOS // 2,
    )
    await gpu.start()
    gpu.arrive(SESSION, TENANT, earliest_nanos=clock.now())
    delivery = asyncio.create_task(gpu.deliver())
    worker = _Worker(gpu, marks)
    while clock.nanos < seconds * 1e9:
        due_nanos = watch.due_nanos()
        if due_nanos <= worker.due_nanos:
            clock.nanos = max(clock.nanos, due_nanos)
            happen(clock.nanos)
            watch.read()
        else:
            clock.nanos = max(clock.nanos, worker.due_nanos)
            worker.speak(clock.nanos)
        await asyncio.sleep(0)
    await gpu.finish()
    await gpu.drain()
    delivery.cancel()
    return books


class _Worker:
    """Tells its marks as they end."""

    def __init__(self, gpu: MeteredGpu, marks: Sequence[Mark]) -> None:
        self._gpu = gpu
        self._marks = marks
        self._told_count = 0
        self.due_nanos = 0

    def speak(self, now_nanos: int) -> None:
        begin = self._told_count
        while (
            self._told_count < len(self._marks)
            and self._marks[self._told_count].end_nanos <= now_nanos
        ):
            self._told_count += 1
        following = self._marks[self._told_count] if self._told_count < len(self._marks) else None
        watermark_nanos = min(now_nanos, following.start_nanos) if following else now_nanos
        self._gpu.hear(
            SESSION,
            list(self._marks[begin : self._told_count]),
            watermark_nanos=watermark_nanos,
        )
        self.due_nanos = now_nanos + _MESSAGE_NANOS
