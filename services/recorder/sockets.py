"""One gRPC server on one UNIX socket, which its directory may lose at any time."""

import os
from pathlib import Path
from typing import Final

from grpc import aio

from services.internal.v1 import recorder_pb2_grpc

_STOP_SECONDS: Final = 5.0


class ServedSocket:
    """A servicer that listens on a socket between `open` and `close`."""

    def __init__(
        self,
        servicer: recorder_pb2_grpc.RecorderServiceServicer,
        path: Path,
        *,
        message_bytes_max: int,
        calls_max: int,
    ) -> None:
        self._servicer = servicer
        self._path = path
        self._options = [
            ("grpc.max_receive_message_length", message_bytes_max),
            ("grpc.max_concurrent_streams", calls_max),
        ]
        self._calls_max = calls_max

    async def open(self) -> None:
        """Listen; a socket that an earlier recorder left behind is replaced."""
        self._path.unlink(missing_ok=True)
        self._server = aio.server(options=self._options, maximum_concurrent_rpcs=self._calls_max)
        recorder_pb2_grpc.add_RecorderServiceServicer_to_server(self._servicer, self._server)
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()
        # The directory's group is the tenant's; it may connect, nobody else.
        os.chown(self._path, -1, self._path.parent.stat().st_gid)
        self._path.chmod(0o660)
        self._inodes = _inodes(self._path)

    async def close(self, *, grace_seconds: float = _STOP_SECONDS) -> None:
        """End after the calls in work, or after the grace."""
        await self._server.stop(grace_seconds)
        self._path.unlink(missing_ok=True)

    def is_in_place(self) -> bool:
        """Tell whether the socket is still the one that was opened, in the same directory."""
        try:
            return _inodes(self._path) == self._inodes
        except FileNotFoundError:
            return False


def _inodes(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.parent.stat().st_ino
