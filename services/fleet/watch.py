"""The fleet's turn, again and again: read what is, decide, carry out, write what became of it."""

import asyncio
import time
from datetime import datetime
from typing import Final

import structlog

from database.pool import Connection
from services.fleet.errors import MeterUnavailableError
from services.fleet.fleet import Fleet
from services.fleet.fleet_store import (
    Situation,
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
from services.fleet.gpu_store import read_inventory, write_inventory, write_samples
from services.fleet.heat import Heat, PowerPolicy
from services.fleet.inventory import Gpu, Inventory
from services.fleet.meter_client import MeterClient
from services.fleet.settings import Settings

# How fast pictures are drawn changes with the kind of pictures, which changes slowly.
_MEASURE_SECONDS: Final = 20.0
_SENSE_SECONDS: Final = 1.0

log = structlog.get_logger()


class Watch:
    """What one active fleet does while it holds the lock."""

    def __init__(self, settings: Settings, fleet: Fleet, connection: Connection) -> None:
        self._settings = settings
        self._fleet = fleet
        self._connection = connection
        self._inventory = Inventory(configured_ids=settings.configured_ids)
        self._heat = Heat(settings.power_policy)
        self._meter_answers = True
        self._shown_workers: list[WorkerRow] | None = None
        self._shown_gpus: tuple[object, ...] = ()

    async def run(self, stop: asyncio.Event) -> None:
        """Take turns until it is told to stop; raises what tells that PostgreSQL is gone."""
        self._inventory.take(await read_inventory(self._connection))
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
                    await self._ask(meter)
                    sense_due = now + _SENSE_SECONDS
                ended_since = await self._turn(ended_since, is_sensing=is_sensing)
                await sleep(self._settings.tick_seconds, stop)

    async def _ask(self, meter: MeterClient) -> None:
        """Ask the meter how the devices do; without an answer they stay as they were known."""
        try:
            self._inventory.take(await meter.list_gpus())
        except MeterUnavailableError as error:
            self._inventory.forget_samples()
            if self._meter_answers:
                log.warning("meter_away", reason=str(error))
            self._meter_answers = False
        else:
            self._meter_answers = True

    async def _turn(self, ended_since: datetime, *, is_sensing: bool) -> datetime:
        connection = self._connection
        situation = await read_situation(
            connection, silence_seconds=self._settings.silence_seconds, ended_since=ended_since
        )
        gpus = self._inventory.gpus
        if is_sensing:
            await self._keep_cool(gpus, situation)
        workers = self._fleet.look(situation, gpus=gpus)
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
        return max([ended_since, *(ended.last_end_time for ended in situation.ended)])

    async def _keep_cool(self, gpus: tuple[Gpu, ...], situation: Situation) -> None:
        """Set the pace; every heartbeat's answer carries it to the worker."""
        policies = {
            policy.gpu_id: PowerPolicy(
                temperature_celsius_max=policy.temperature_celsius_max,
                duty_cycle_max=policy.duty_cycle_max,
            )
            for policy in situation.policies
        }
        duty_cycles = self._heat.duty_cycles(gpus, policies, now=time.monotonic())
        shown = (*((gpu.gpu_id, gpu.device_uuid, gpu.display_name) for gpu in gpus), duty_cycles)
        if shown != self._shown_gpus:
            await write_inventory(self._connection, gpus, duty_cycles=duty_cycles)
            self._shown_gpus = shown
        await write_samples(self._connection, gpus)


async def sleep(seconds: float, stop: asyncio.Event) -> None:
    """Rest, unless told to stop."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
