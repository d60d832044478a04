"""A door: the socket in one (tenant, device) directory, through which the worker there comes in.

gRPC does not tell which process is at the other end of a UNIX socket, and the energy of a processor
is estimated from the CPU time of its worker. So a door accepts the connection itself, asks the
kernel who it is (SO_PEERCRED, which no peer can forge), and passes the bytes on to the gRPC server
behind.
"""

import asyncio
import os
import socket
import struct
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import structlog
from grpc import aio

from services.internal.v1 import meter_pb2_grpc
from services.meter.mark_service import MarkService
from services.meter.metered_gpu import MeteredGpu
from tenants.ids import TenantId

_CHUNK_BYTES: Final = 64 * 1024
# struct ucred of unix(7): process, user and group.
_CREDENTIALS: Final = struct.Struct("3i")
_MESSAGE_BYTES_MAX: Final = 1024 * 1024
# A worker has one stream, for a moment two.
_CONNECTIONS_MAX: Final = 8

log = structlog.get_logger()


class Door:
    """One socket of workers, open between `open` and `close`."""

    def __init__(
        self, *, gpu: MeteredGpu, tenant_id: TenantId, socket_path: Path, inner_path: Path
    ) -> None:
        self._gpu = gpu
        self._tenant_id = tenant_id
        self._socket_path = socket_path
        self._inner_path = inner_path
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen; a socket that an earlier meter left behind is replaced.

        Raises what stopped it, OSError or gRPC's RuntimeError, and leaves nothing open then.
        """
        async with AsyncExitStack() as opened:
            self._server = await self._serve_inside()
            opened.push_async_callback(self._stop_inside)
            self._front = await self._listen()
            opened.callback(self._front.close)
            self._admit_tenants_group()
            self._directory_inode = self._socket_path.parent.stat().st_ino
            await self._front.start_serving()
            opened.pop_all()

    async def close(self) -> None:
        """Let nobody in any more and end the streams; their workers have not said good-bye."""
        self._front.close()
        with suppress(FileNotFoundError):
            self._socket_path.unlink()
        await self._stop_inside()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def is_in_place(self) -> bool:
        """Tell whether the directory is still the one it was opened in, with the socket in it."""
        try:
            is_same = self._socket_path.parent.stat().st_ino == self._directory_inode
            return is_same and self._socket_path.is_socket()
        except FileNotFoundError:
            return False

    async def _serve_inside(self) -> aio.Server:
        self._inner_path.unlink(missing_ok=True)
        server = aio.server(options=[("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX)])
        meter_pb2_grpc.add_MeterServiceServicer_to_server(
            MarkService(self._gpu, self._tenant_id), server
        )
        server.add_insecure_port(f"unix:{self._inner_path}")
        await server.start()
        return server

    async def _stop_inside(self) -> None:
        await self._server.stop(grace=None)
        self._inner_path.unlink(missing_ok=True)

    async def _listen(self) -> asyncio.Server:
        self._socket_path.unlink(missing_ok=True)
        # Serving begins later: whoever is cancelled while asyncio begins it has no server to close.
        return await asyncio.start_unix_server(self._accept, self._socket_path, start_serving=False)

    def _admit_tenants_group(self) -> None:
        """The directory's group is the tenant's; it may connect, nobody else."""
        os.chown(self._socket_path, -1, self._socket_path.parent.stat().st_gid)
        self._socket_path.chmod(0o660)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= _CONNECTIONS_MAX:
            log.warning("door_crowded", tenant=self._tenant_id, gpu=self._gpu.device.gpu_id)
            writer.close()
            return
        self._connections.add(task)
        process_id = _peer_of(writer)
        processes = self._gpu.device.processes
        processes.attach(process_id)
        try:
            await _relay(reader, writer, self._inner_path)
        except OSError as error:
            log.info("door_connection_broken", tenant=self._tenant_id, reason=str(error))
        finally:
            processes.detach(process_id)
            self._connections.discard(task)
            writer.close()


def _peer_of(writer: asyncio.StreamWriter) -> int:
    connection: socket.socket = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process_id, _user_id, _group_id = _CREDENTIALS.unpack(credentials)
    return int(process_id)


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner_path: Path
) -> None:
    """Pass bytes both ways until either side ends."""
    inner_reader, inner_writer = await asyncio.open_unix_connection(inner_path)
    ways = [
        asyncio.create_task(_pass_on(reader, inner_writer)),
        asyncio.create_task(_pass_on(inner_reader, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        inner_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
