"""One device with its timeline: epochs begin and end here, closed segments leave from here.

All of it runs on the event loop; only the counter is read in other threads.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic_ns, time_ns
from typing import Final, Protocol

import structlog

from metering.energy import Reading, Segment
from metering.energy_records import LastReading, SegmentBatch
from metering.errors import CounterError
from metering.power import LearnedPower
from metering.presence import Mark
from metering.timeline import Timeline
from services.meter.devices import Device
from services.meter.errors import RecorderUnavailableError, SegmentsRefusedError
from services.meter.outbox import Outbox
from services.meter.segment_tally import SegmentTally
from tenants.ids import GpuId, SessionId, TenantId

_SECOND_NANOS: Final = 1_000_000_000
# Slewing moves both clocks alike; only a step of the wall clock, or a suspended host, parts them.
_CLOCK_STEP_NANOS: Final = 1 * _SECOND_NANOS
_RETRY_SECONDS: Final = 0.5
_EPOCH_OF_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

log = structlog.get_logger()


class SegmentStore(Protocol):
    """The recorder, as far as a device needs it.

    Both raise RecorderUnavailableError when it does not answer.
    """

    async def last_reading(self, gpu_id: GpuId) -> LastReading | None: ...

    async def record_segments(self, batch: SegmentBatch) -> int: ...


class MeteredGpu:
    """Marks and readings of one device come together here; `start` comes first."""

    def __init__(
        self,
        device: Device,
        store: SegmentStore,
        *,
        wall_clock_nanos: Callable[[], int] = time_ns,
        monotonic_clock_nanos: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.device = device
        self._store = store
        self._wall_clock_nanos = wall_clock_nanos
        self._monotonic_clock_nanos = monotonic_clock_nanos
        facts = device.counter.facts
        self._outbox = Outbox(device.gpu_id, source=facts.source, display_name=facts.display_name)
        self._has_news = asyncio.Event()
        # The counter could not be read the last time.
        self.is_failing = False
        self.tally = SegmentTally()
        self.last_reading: Reading | None = None
        # What the device draws is no matter of one epoch.
        self._power = LearnedPower(device.power)
        self._epoch = 0
        self._wall_offset_nanos = 0
        self._timeline: Timeline | None = None
        # Where the timeline goes on after the recorder would not take what followed.
        self._resume_edge: Reading | None = None

    @property
    def is_started(self) -> bool:
        return self._timeline is not None

    @property
    def has_worker(self) -> bool:
        return self._timeline is not None and self._timeline.session is not None

    @property
    def pending_count(self) -> int:
        """Segments that the recorder has not acknowledged."""
        return len(self._outbox)

    def wall_seconds(self, reading: Reading) -> float:
        """Tell when a reading of this epoch was taken, in seconds since 1970."""
        return (reading.nanos + self._wall_offset_nanos) / _SECOND_NANOS

    async def start(self) -> None:
        """Begin the timeline where the stored one ends; waits for recorder and counter."""
        before = await self._until_answered()
        first = self.last_reading = await self._until_read()
        self._epoch = before.epoch if before else 0
        offset_nanos = self._offset_now()
        start = self._start_edge(before, first, wall_offset_nanos=offset_nanos)
        self._begin_epoch(first, start=start, wall_offset_nanos=offset_nanos)
        log.info("timeline_begun", gpu=self.device.gpu_id, epoch=self._epoch)

    def arrive(self, session_id: SessionId, tenant_id: TenantId, *, earliest_nanos: int) -> None:
        """Take note of a worker's stream.

        Raises:
            DeviceTakenError: Another tenant's worker is on the device.
        """
        self._timeline_now.presences.arrive(
            session_id,
            tenant_id,
            now_nanos=self._monotonic_clock_nanos(),
            earliest_nanos=earliest_nanos,
        )

    def hear(self, session_id: SessionId, marks: list[Mark], *, watermark_nanos: int) -> int:
        """Take a message; return how many of its marks were refused."""
        return self._timeline_now.presences.hear(
            session_id,
            marks,
            watermark_nanos=watermark_nanos,
            now_nanos=self._monotonic_clock_nanos(),
        )

    def leave(self, session_id: SessionId, *, orderly: bool) -> None:
        now_nanos = self._monotonic_clock_nanos()
        self._timeline_now.presences.leave(session_id, now_nanos=now_nanos, orderly=orderly)

    def take(self, reading: Reading) -> None:
        """Take a reading and send what it closes."""
        if self.is_failing:
            log.info("counter_back", gpu=self.device.gpu_id)
            self.is_failing = False
        last = self._timeline_now.last_reading
        self.last_reading = reading
        offset_nanos = self._offset_now()
        if (edge := self._resume_edge) is not None:
            start = edge._replace(millijoules=min(edge.millijoules, reading.millijoules))
            self._begin_epoch(reading, start=start, wall_offset_nanos=offset_nanos)
        elif reading.millijoules < last.millijoules:
            # How much it counted before it was reset nobody knows; the time between is UNKNOWN.
            log.warning("counter_reset", gpu=self.device.gpu_id)
            start = Reading(last.nanos, reading.millijoules)
            self._begin_epoch(reading, start=start, wall_offset_nanos=offset_nanos)
        elif abs(offset_nanos - self._wall_offset_nanos) > _CLOCK_STEP_NANOS:
            log.warning("clock_stepped", gpu=self.device.gpu_id)
            self._begin_epoch(reading, start=last, wall_offset_nanos=offset_nanos)
        else:
            self._timeline_now.read(reading)
            self._send(self._timeline_now.close(self._monotonic_clock_nanos()))

    def report(self, error: CounterError) -> None:
        """Take note that the counter could not be read; the next reading covers the gap."""
        if not self.is_failing:
            log.warning("counter_failing", gpu=self.device.gpu_id, reason=str(error))
        self.is_failing = True

    async def finish(self) -> None:
        """Close the timeline at a last reading."""
        try:
            reading = await asyncio.to_thread(self._read_now)
        except CounterError as error:
            self.report(error)
        else:
            self.take(reading)
        self._send(self._timeline_now.finish())

    async def deliver(self) -> None:
        """Send what is closed, again until it is acknowledged; runs until it is cancelled."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            while (batch := self._outbox.next_batch()) is not None:
                if not await self._sent(batch):
                    await asyncio.sleep(_RETRY_SECONDS)

    async def drain(self) -> None:
        """Wait until everything is acknowledged; `deliver` must be running."""
        while len(self._outbox):
            await asyncio.sleep(0.02)

    @property
    def _timeline_now(self) -> Timeline:
        assert self._timeline is not None
        return self._timeline

    async def _until_answered(self) -> LastReading | None:
        while True:
            try:
                return await self._store.last_reading(self.device.gpu_id)
            except RecorderUnavailableError:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _until_read(self) -> Reading:
        while True:
            try:
                return await asyncio.to_thread(self._read_now)
            except CounterError as error:
                self.report(error)
                await asyncio.sleep(_RETRY_SECONDS)

    def _read_now(self) -> Reading:
        now_nanos = self._monotonic_clock_nanos()
        millijoules = self.device.counter.read(now_nanos)
        return Reading(now_nanos, millijoules, self.device.timing_nanos)

    def _start_edge(
        self, before: LastReading | None, first: Reading, *, wall_offset_nanos: int
    ) -> Reading:
        """Return where the timeline goes on: at the last stored reading, if there is one.

        Without a counter that counted meanwhile, the time between is UNKNOWN and has no joules.
        """
        if before is None:
            return first
        # In whole microseconds, and the offset is the one that leads back: the new segment starts
        # exactly where the stored one ended. A float of seconds would be off by up to 256 ns.
        wall_nanos = (before.read_time - _EPOCH_OF_UNIX) // _MICROSECOND * 1000
        last_nanos = wall_nanos - wall_offset_nanos
        if last_nanos >= first.nanos:
            return first
        facts = self.device.counter.facts
        # CLOCK_MONOTONIC begins at 0 when the host starts, and so does a GPU's counter.
        has_counted_on = (
            facts.counts_alone
            and facts.source is before.source
            and last_nanos > 0
            and first.millijoules >= before.millijoules
        )
        millijoules = before.millijoules if has_counted_on else first.millijoules
        return Reading(last_nanos, millijoules)

    def _begin_epoch(self, first: Reading, *, start: Reading, wall_offset_nanos: int) -> None:
        session = self._timeline.session if self._timeline else None
        if self._timeline is not None and self._resume_edge is None:
            self._send(self._timeline.finish())
        self._resume_edge = None
        self._epoch += 1
        self._wall_offset_nanos = wall_offset_nanos
        self._timeline = Timeline(
            start=start,
            first=first,
            wall_offset_nanos=self._wall_offset_nanos,
            power=self._power,
        )
        if session is not None:
            self._timeline.presences.adopt(session, now_nanos=first.nanos)

    def _offset_now(self) -> int:
        return self._wall_clock_nanos() - self._monotonic_clock_nanos()

    def _send(self, segments: list[Segment]) -> None:
        if segments:
            self.tally.note(segments)
            self._outbox.add(self._epoch, segments, wall_offset_nanos=self._wall_offset_nanos)
            self._has_news.set()

    async def _sent(self, batch: SegmentBatch) -> bool:
        """Offer a batch; False when the recorder does not answer.

        One that it will not take, now or ever, ends the epoch: the time since the last stored edge
        becomes UNKNOWN, with all its joules.
        """
        try:
            last_number = await self._store.record_segments(batch)
        except RecorderUnavailableError:
            return False
        except SegmentsRefusedError:
            log.exception("segments_refused", gpu=batch.gpu_id, epoch=batch.epoch)
            self._abandon()
            return True
        self._outbox.acknowledge(batch.epoch, last_number)
        if last_number < batch.segments[0].number:
            log.error("segments_missing", gpu=batch.gpu_id, epoch=batch.epoch, stored=last_number)
            self._abandon()
        return True

    def _abandon(self) -> None:
        self.tally.abandoned += len(self._outbox)
        self._resume_edge = self._outbox.abandon()
