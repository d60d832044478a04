"""Serves a socket in each tenant's directory that appears, and closes it when it goes."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from services.recorder.sockets import ServedSocket
from tenants.ids import TenantId
from tenants.run_directory import RunDirectory

_LOOK_SECONDS: Final = 0.5

log = structlog.get_logger()


class TenantSockets:
    """The workers' doors of one host."""

    def __init__(self, run: RunDirectory, make_socket: Callable[[TenantId], ServedSocket]) -> None:
        self._run = run
        self._make_socket = make_socket
        self._open: dict[TenantId, ServedSocket] = {}

    async def watch(self) -> None:
        """Look for directories twice a second; runs until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Close what is gone or was replaced, then open what is new."""
        tenant_ids = set(self._tenant_ids())
        for tenant_id in [*self._open]:
            if tenant_id not in tenant_ids or not self._open[tenant_id].is_in_place():
                # No grace: nobody can reach it any more.
                await self._open.pop(tenant_id).close(grace_seconds=0)
                log.info("tenant_socket_closed", tenant=tenant_id)
        for tenant_id in sorted(tenant_ids - self._open.keys()):
            await self._open_for(tenant_id)

    async def close(self) -> None:
        """Close all."""
        await asyncio.gather(*(socket.close() for socket in self._open.values()))
        self._open.clear()

    async def _open_for(self, tenant_id: TenantId) -> None:
        socket = self._make_socket(tenant_id)
        try:
            await socket.open()
        except (OSError, RuntimeError) as error:
            # The directory went while we looked; the next look sees how things are.
            log.warning("tenant_socket_not_opened", tenant=tenant_id, reason=str(error))
            return
        self._open[tenant_id] = socket
        log.info("tenant_socket_opened", tenant=tenant_id)

    def _tenant_ids(self) -> Iterator[TenantId]:
        if self._run.tenants_directory.is_dir():
            for directory in self._run.tenants_directory.iterdir():
                if directory.is_dir():
                    yield TenantId(directory.name)
