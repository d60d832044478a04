"""Which devices there are, how they do and how fast they may work: read, decided and written."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from database.pool import Connection
from services.fleet.errors import MeterUnavailableError
from services.fleet.fleet_store import PolicyRow
from services.fleet.gpu_store import read_inventory, write_inventory, write_samples
from services.fleet.heat import Heat, PowerPolicy
from services.fleet.inventory import Gpu, Inventory

log = structlog.get_logger()


class GpuSource(Protocol):
    """Who knows the devices: the host's meter, or those of all nodes."""

    async def list_gpus(self) -> list[Gpu]: ...


class Sensing:
    """What the active fleet knows of the devices."""

    def __init__(self, connection: Connection, *, inventory: Inventory, heat: Heat) -> None:
        self._connection = connection
        self._inventory = inventory
        self._heat = heat
        # Whether they told how they do when they were last asked.
        self.meter_answers = True
        self.paces: Mapping[str, float] = {}
        self._shown: tuple[object, ...] = ()

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        return self._inventory.gpus

    async def remember(self) -> None:
        """Begin with what an earlier fleet had learnt."""
        self._inventory.take(await read_inventory(self._connection))

    async def ask(self, source: GpuSource) -> None:
        """Ask how the devices do; without an answer they stay as they were known."""
        try:
            self._inventory.take(await source.list_gpus())
        except MeterUnavailableError as error:
            self._inventory.forget_samples()
            if self.meter_answers:
                log.warning("meter_away", reason=str(error))
            self.meter_answers = False
        else:
            self.meter_answers = True

    async def keep_cool(self, rows: Sequence[PolicyRow]) -> None:
        """Set the pace; every heartbeat's answer carries it to the worker."""
        gpus = self.gpus
        duty_cycles = self._heat.duty_cycles(gpus, _policies(rows), now=time.monotonic())
        self.paces = duty_cycles
        shown = (*((gpu.gpu_id, gpu.device_uuid, gpu.display_name) for gpu in gpus), duty_cycles)
        if shown != self._shown:
            await write_inventory(self._connection, gpus, duty_cycles=duty_cycles)
            self._shown = shown
        await write_samples(self._connection, gpus)


def _policies(rows: Sequence[PolicyRow]) -> dict[str, PowerPolicy]:
    return {
        row.gpu_id: PowerPolicy(
            temperature_celsius_max=row.temperature_celsius_max,
            duty_cycle_max=row.duty_cycle_max,
        )
        for row in rows
    }
