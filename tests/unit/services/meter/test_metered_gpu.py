import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from metering.cpu_energy import AttachedProcesses
from metering.energy import Reading
from metering.energy_counter import CounterFacts
from metering.energy_records import EnergySegment, LastReading, SegmentBatch
from metering.energy_source import EnergySource
from metering.errors import CounterUnavailableError
from metering.power import PowerModel
from services.meter.devices import Device
from services.meter.errors import RecorderUnavailableError, SegmentsRefusedError
from services.meter.metered_gpu import MeteredGpu
from tenants.ids import GpuId, SessionId, TenantId

MS = 1_000_000
SECOND = 1_000_000_000
START = datetime(2031, 5, 1, 10, 30, tzinfo=UTC)
START_WALL_NANOS = int(START.timestamp()) * SECOND


class Clocks:
    """Both clocks of a host, moved by hand."""

    def __init__(self) -> None:
        self.monotonic = 1_000 * SECOND
        self.wall = START_WALL_NANOS

    def move(self, nanos: int) -> None:
        self.monotonic += nanos
        self.wall += nanos


class Counter:
    """A GPU's counter that shows what it is told to."""

    def __init__(self) -> None:
        self.facts = CounterFacts(
            source=EnergySource.NVML_COUNTER,
            display_name="NVIDIA H200",
            refresh_nanos=100 * MS,
            counts_alone=True,
        )
        self.millijoules = 5_000_000
        self.is_lost = False

    def read(self, now_nanos: int) -> int:
        if self.is_lost:
            raise CounterUnavailableError("GPU is lost")
        return self.millijoules


class Store:
    """The recorder's side in memory."""

    def __init__(self, last: LastReading | None = None) -> None:
        self.last = last
        self.batches: list[SegmentBatch] = []
        self.stored: dict[int, int] = {}
        self.failures: list[Exception] = []
        self.lost_numbers = 0

    async def last_reading(self, gpu_id: GpuId) -> LastReading | None:
        return self.last

    async def record_segments(self, batch: SegmentBatch) -> int:
        if self.failures:
            raise self.failures.pop(0)
        if self.lost_numbers:
            self.lost_numbers = 0
            return 0
        self.batches.append(batch)
        self.stored[batch.epoch] = batch.segments[-1].number
        return batch.segments[-1].number

    @property
    def segments(self) -> list[tuple[int, EnergySegment]]:
        return [(batch.epoch, segment) for batch in self.batches for segment in batch.segments]

    def told(self) -> list[tuple[int, str, int]]:
        """Epoch, kind and millijoules."""
        return [
            (epoch, segment.kind.value, segment.millijoules) for epoch, segment in self.segments
        ]


class Host:
    """One device with its clocks, counter and recorder."""

    def __init__(self, store: Store) -> None:
        self.clocks = Clocks()
        self.counter = Counter()
        self.store = store
        self.gpu = MeteredGpu(
            Device(
                gpu_id=GpuId("gpu-0"),
                counter=self.counter,
                power=PowerModel(
                    idle_watts=100.0, free_watts=100.0, load_watts=300.0, joules_per_work_unit=1.0
                ),
                processes=AttachedProcesses(),
                poll_nanos=50 * MS,
                refresh_nanos=0,
                timing_nanos=0.0,
                is_always_there=True,
            ),
            store,
            wall_clock_nanos=lambda: self.clocks.wall,
            monotonic_clock_nanos=lambda: self.clocks.monotonic,
        )

    def run(self, seconds: int, *, watts: int = 85) -> None:
        """Let time pass with a reading each 100 ms."""
        for _ in range(seconds * 10):
            self.clocks.move(100 * MS)
            self.counter.millijoules += watts * 100
            self.gpu.take(Reading(self.clocks.monotonic, self.counter.millijoules))


@asynccontextmanager
async def started(store: Store | None = None) -> AsyncGenerator[Host]:
    host = Host(store or Store())
    await host.gpu.start()
    delivery = asyncio.create_task(host.gpu.deliver())
    yield host
    delivery.cancel()


def stored_reading(*, seconds_ago: int, millijoules: int) -> LastReading:
    return LastReading(
        epoch=4,
        last_number=17,
        millijoules=millijoules,
        read_time=START - timedelta(seconds=seconds_ago),
        source=EnergySource.NVML_COUNTER,
    )


async def test_a_device_never_seen_begins_with_its_first_reading() -> None:
    async with started() as host:
        host.run(1)
        await host.gpu.finish()
        await host.gpu.drain()

        assert host.store.told() == [(1, "FREE", 85_000)]


async def test_what_the_counter_counted_while_the_meter_was_down_is_unknown() -> None:
    store = Store(stored_reading(seconds_ago=60, millijoules=4_994_900))
    async with started(store) as host:
        host.run(1)
        await host.gpu.finish()
        await host.gpu.drain()

        assert store.told() == [(5, "UNKNOWN", 5_100), (5, "FREE", 85_000)]
        assert store.segments[0][1].start_time == START - timedelta(seconds=60)


async def test_the_timeline_goes_on_at_the_stored_end_to_the_microsecond() -> None:
    # As a float of seconds this time is 64 ns short, and the segment began a microsecond early.
    stored = stored_reading(seconds_ago=60, millijoules=4_994_900)
    stored = replace(stored, read_time=START - timedelta(seconds=60, microseconds=283_000))
    store = Store(stored)
    async with started(store) as host:
        host.run(1)
        await host.gpu.finish()
        await host.gpu.drain()

        assert store.segments[0][1].start_time == stored.read_time


async def test_after_a_restart_of_the_host_the_unknown_time_has_no_joules() -> None:
    store = Store(stored_reading(seconds_ago=2_000, millijoules=4_994_900))
    async with started(store) as host:
        await host.gpu.finish()
        await host.gpu.drain()

        assert store.told() == [(5, "UNKNOWN", 0), (5, "UNKNOWN", 0)]
        assert store.segments[0][1].end_time == START.replace(minute=0)


async def test_a_counter_that_was_reset_begins_an_epoch_and_the_session_goes_on() -> None:
    async with started() as host:
        host.gpu.arrive(SessionId("s"), TenantId("acme"), earliest_nanos=host.clocks.monotonic)
        host.run(1)
        host.counter.millijoules = 7
        host.run(1)
        await host.gpu.finish()
        await host.gpu.drain()

        kinds = [(epoch, kind) for epoch, kind, _ in host.store.told()]
        assert kinds == [(1, "SILENT"), (2, "UNKNOWN"), (2, "SILENT")]
        assert host.store.told()[1][2] == 0
        assert host.store.batches[-1].end_reading.millijoules == 7 + 85_000


async def test_a_step_of_the_wall_clock_begins_an_epoch() -> None:
    async with started() as host:
        host.run(1)
        host.clocks.wall += 30 * SECOND
        host.run(1)
        await host.gpu.finish()
        await host.gpu.drain()

        assert host.store.told() == [
            (1, "FREE", 85_000),
            (2, "UNKNOWN", 8_500),
            (2, "FREE", 76_500),
        ]


async def test_a_counter_that_fails_for_a_while_loses_nothing() -> None:
    async with started() as host:
        host.run(1)
        host.gpu.report(CounterUnavailableError("GPU is lost"))
        host.clocks.move(5 * SECOND)
        host.counter.millijoules += 425_000
        host.run(1)
        await host.gpu.finish()
        await host.gpu.drain()

        assert host.store.told() == [(1, "FREE", 595_000)]


async def test_a_counter_that_fails_at_the_end_ends_the_timeline_at_its_last_reading() -> None:
    async with started() as host:
        host.run(1)
        host.counter.is_lost = True
        await host.gpu.finish()
        await host.gpu.drain()

        assert host.store.told() == [(1, "FREE", 85_000)]


async def test_a_recorder_that_is_away_is_asked_again() -> None:
    async with started() as host:
        host.store.failures = [RecorderUnavailableError("away")]
        host.run(1)
        await host.gpu.finish()
        await host.gpu.drain()

        assert host.store.told() == [(1, "FREE", 85_000)]


async def test_segments_that_are_refused_for_good_become_unknown_time_with_all_its_joules() -> None:
    async with started() as host:
        host.run(13)
        await host.gpu.drain()
        host.store.failures = [SegmentsRefusedError("never")]
        host.run(11)
        await asyncio.sleep(0.05)
        host.run(1)
        await host.gpu.finish()
        await host.gpu.drain()

        told = host.store.told()
        assert [(epoch, kind) for epoch, kind, _ in told] == [
            (1, "FREE"),
            (2, "UNKNOWN"),
            (2, "FREE"),
        ]
        assert sum(millijoules for _, _, millijoules in told) == 25 * 85_000


async def test_a_recorder_that_forgot_what_it_had_gets_a_new_epoch() -> None:
    async with started() as host:
        host.run(13)
        await host.gpu.drain()
        host.store.lost_numbers = 1
        host.run(11)
        await asyncio.sleep(0.05)
        host.run(1)
        await host.gpu.finish()
        await host.gpu.drain()

        assert sum(millijoules for _, _, millijoules in host.store.told()) == 25 * 85_000
        assert {epoch for epoch, _, _ in host.store.told()} == {1, 2}
