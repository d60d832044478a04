"""Opens a door in every (tenant, device) directory that appears, and closes it when it goes."""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from services.meter.door import Door
from services.meter.metered_gpu import MeteredGpu
from tenants.ids import GpuId, TenantId
from tenants.run_directory import RunDirectory

_LOOK_SECONDS: Final = 0.5

log = structlog.get_logger()


class _Place(NamedTuple):
    tenant_id: TenantId
    gpu_id: GpuId


class Doors:
    """All doors of this host."""

    def __init__(
        self, run_directory: RunDirectory, gpus: Mapping[GpuId, MeteredGpu], inner_directory: Path
    ) -> None:
        self._run_directory = run_directory
        self._gpus = gpus
        self._inner_directory = inner_directory
        # The servers behind have short names: a socket's path may have 107 bytes.
        self._inner_numbers = count(1)
        self._open: dict[_Place, Door] = {}

    async def watch(self) -> None:
        """Look for directories twice a second; runs until it is cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        await asyncio.gather(*(door.close() for door in self._open.values()))
        self._open.clear()

    def wanted_gpus(self) -> set[GpuId]:
        """Return the devices that any tenant has a directory for."""
        return {place.gpu_id for place in self._places()}

    async def _look(self) -> None:
        places = set(self._places())
        for place in [*self._open]:
            if place not in places or not self._open[place].is_in_place():
                await self._open.pop(place).close()
        for place in sorted(places - self._open.keys()):
            if self._gpus[place.gpu_id].is_started:
                await self._open_at(place)

    async def _open_at(self, place: _Place) -> None:
        door = Door(
            gpu=self._gpus[place.gpu_id],
            tenant_id=place.tenant_id,
            socket_path=self._run_directory.marks_socket(place.tenant_id, place.gpu_id),
            inner_path=self._inner_directory / f"{next(self._inner_numbers)}.sock",
        )
        try:
            await door.open()
        except (OSError, RuntimeError) as error:
            # The directory went while we looked; the next look sees how things are.
            log.warning("door_not_opened", tenant=place.tenant_id, reason=str(error))
            return
        self._open[place] = door
        log.info("door_opened", tenant=place.tenant_id, gpu=place.gpu_id)

    def _places(self) -> Iterator[_Place]:
        for directory in self._run_directory.tenants_directory.glob("*/*"):
            gpu_id = GpuId(directory.name)
            if gpu_id in self._gpus and directory.is_dir():
                yield _Place(TenantId(directory.parent.name), gpu_id)
