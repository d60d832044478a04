"""The fleet's turn, again and again: read what is, decide, carry out, write what became of it."""

import asyncio
import time
from datetime import datetime
from typing import Final

from database.pool import Connection
from services.fleet.fleet import Fleet
from services.fleet.fleet_store import (
    WorkerRow,
    clear_drain_wish,
    insert_handover,
    mark_cleared,
    read_cold_starts,
    read_now,
    read_situation,
    read_speeds,
    write_workers,
)
from services.fleet.fleet_tally import FleetTally, Turn
from services.fleet.heat import Heat
from services.fleet.inventory import Inventory
from services.fleet.meter_client import MeterClient
from services.fleet.sensing import Sensing
from services.fleet.settings import Settings

# How fast pictures are drawn changes with the kind of pictures, which changes slowly.
_MEASURE_SECONDS: Final = 20.0
SENSE_SECONDS: Final = 1.0


class Watch:
    """What one active fleet does while it holds the lock."""

    def __init__(
        self, settings: Settings, fleet: Fleet, connection: Connection, tally: FleetTally
    ) -> None:
        self._settings = settings
        self._fleet = fleet
        self._connection = connection
        self._tally = tally
        self._sensing = Sensing(
            connection,
            inventory=Inventory(configured_ids=settings.configured_ids),
            heat=Heat(settings.power_policy),
        )
        self._shown_workers: list[WorkerRow] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Take turns until it is told to stop; raises what tells that PostgreSQL is gone."""
        await self._sensing.remember()
        self._fleet.remember(await read_cold_starts(self._connection))
        ended_since = await read_now(self._connection)
        sense_due = measure_due = 0.0
        async with MeterClient(self._settings.meter) as meter:
            while not stop.is_set():
                now = time.monotonic()
                if now >= measure_due:
                    self._fleet.measure(await read_speeds(self._connection))
                    measure_due = now + _MEASURE_SECONDS
                if is_sensing := now >= sense_due:
                    await self._sensing.ask(meter)
                    sense_due = now + SENSE_SECONDS
                ended_since = await self._turn(ended_since, is_sensing=is_sensing)
                await sleep(self._settings.tick_seconds, stop)

    async def _turn(self, ended_since: datetime, *, is_sensing: bool) -> datetime:
        connection = self._connection
        situation = await read_situation(
            connection, silence_seconds=self._settings.silence_seconds, ended_since=ended_since
        )
        if is_sensing:
            await self._sensing.keep_cool(situation.policies)
        workers = self._fleet.look(situation, gpus=self._sensing.gpus)
        for wish in situation.wishes:
            if wish.drain_wish_time is not None:
                await clear_drain_wish(connection, wish)
        for handover in self._fleet.take_handovers():
            await insert_handover(connection, handover)
        for tenant_id in self._fleet.take_departed():
            await mark_cleared(connection, tenant_id)
        if workers != self._shown_workers:
            await write_workers(connection, workers)
            self._shown_workers = workers
        self._tally.turn = self._told(workers)
        return max([ended_since, *(ended.last_end_time for ended in situation.ended)])

    def _told(self, workers: list[WorkerRow]) -> Turn:
        return Turn(
            time_seconds=time.time(),
            gpus=self._sensing.gpus,
            workers=workers,
            paces=self._sensing.paces,
            waiting_tenants=self._fleet.waiting_tenants,
            restrained_tenants=self._fleet.restrained_tenants,
            meter_answers=self._sensing.meter_answers,
        )


async def sleep(seconds: float, stop: asyncio.Event) -> None:
    """Rest, unless told to stop."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
