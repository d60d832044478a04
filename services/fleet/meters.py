"""The meters of several nodes as one: every address that their names stand for, asked together."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self, TypeAlias

import structlog

from services.fleet.errors import MeterUnavailableError
from services.fleet.inventory import Gpu
from services.fleet.meter_client import MeterClient
from services.transport.callees import Callee
from services.transport.tls_files import TlsFiles

# host:port as it is written, and every ip:port behind it.
Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]

# Nodes come and go in minutes; a meter that is started anew has another address.
_LOOK_UP_SECONDS: Final = 5.0

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class _Node:
    client: MeterClient
    known: list[Gpu]
    answers: bool = True


class Meters:
    """Connections to the meters of all nodes; an asynchronous context manager."""

    def __init__(
        self, addresses: Sequence[str], files: TlsFiles, *, resolve: Resolve | None = None
    ) -> None:
        self._addresses = addresses
        self._files = files
        self._resolve = resolve or addresses_behind
        self._nodes: dict[str, _Node] = {}
        # What each name stood for when it was last known.
        self._behind: dict[str, Sequence[str]] = {}
        self._look_up_due = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node in self._nodes.values():
            await node.client.__aexit__(kind, error, traceback)

    async def list_gpus(self) -> list[Gpu]:
        """Return the devices of all nodes; those of a silent one as they were, without a sample."""
        if time.monotonic() >= self._look_up_due:
            await self._look_up()
            self._look_up_due = time.monotonic() + _LOOK_UP_SECONDS
        answers = await asyncio.gather(
            *(self._ask(address, node) for address, node in self._nodes.items())
        )
        # A card has one name wherever it is; who answers now goes before who is remembered.
        by_id: dict[str, Gpu] = {}
        for gpu in (gpu for gpus in answers for gpu in gpus):
            if gpu.gpu_id not in by_id or gpu.sample is not None:
                by_id[gpu.gpu_id] = gpu
        return list(by_id.values())

    async def _ask(self, address: str, node: _Node) -> list[Gpu]:
        try:
            node.known = await node.client.list_gpus()
        except MeterUnavailableError as error:
            if node.answers:
                log.warning("meter_away", address=address, reason=str(error))
            node.answers = False
            return [replace(gpu, sample=None) for gpu in node.known]
        node.answers = True
        return node.known

    async def _look_up(self) -> None:
        """Learn which nodes there are; a name that cannot be looked up stands for what it did."""
        for name in self._addresses:
            try:
                self._behind[name] = await self._resolve(name)
            except OSError as error:
                log.warning("meters_not_found", name=name, reason=str(error))
        wanted = {
            address: name for name, addresses in self._behind.items() for address in addresses
        }
        for address in self._nodes.keys() - wanted.keys():
            await self._nodes.pop(address).client.__aexit__(None, None, None)
        for address in wanted.keys() - self._nodes.keys():
            host = wanted[address].rpartition(":")[0]
            callee = Callee(target=address, tls=self._files, server_name=host)
            self._nodes[address] = _Node(client=MeterClient(callee), known=[])


async def addresses_behind(address: str) -> Sequence[str]:
    """Look up every address that host:port stands for, such as the pods of a headless service."""
    host, _, port = address.rpartition(":")
    found = await asyncio.get_running_loop().getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM
    )
    return sorted({_target(str(sockaddr[0]), int(sockaddr[1])) for *_, sockaddr in found})


def _target(ip: str, port: int) -> str:
    return f"ipv6:[{ip}]:{port}" if ":" in ip else f"ipv4:{ip}:{port}"
