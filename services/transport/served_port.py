"""One gRPC server on one TCP address, for callers with certificates alone."""

from collections.abc import Callable
from typing import Final

import structlog
from grpc import aio

from services.transport.server_certificates import ReloadedCertificates
from services.transport.tls_files import TlsFiles

_STOP_SECONDS: Final = 5.0
# Below the pause between the pings of our own channels.
_PING_PAUSE_MS_MIN: Final = 5_000
# Only a handshake looks at a certificate's end, so every connection has to come to one again.
# Streams that live longer are opened anew by their clients; a picture's upload fits into the grace.
_CONNECTION_SECONDS_MAX: Final = 3600.0
_CONNECTION_GRACE_MS: Final = 60_000

log = structlog.get_logger()


class ServedPort:
    """Listens between `open` and `close`; ``add`` registers the servicer."""

    def __init__(
        self,
        add: Callable[[aio.Server], None],
        address: str,
        tls: TlsFiles,
        *,
        message_bytes_max: int,
        connection_seconds_max: float = _CONNECTION_SECONDS_MAX,
    ) -> None:
        assert tls.client_ca_path is not None, "callers are known by their certificates"
        self._add = add
        self._address = address
        self._tls = tls
        self._options = [
            ("grpc.max_receive_message_length", message_bytes_max),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", _PING_PAUSE_MS_MIN),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.max_connection_age_ms", round(connection_seconds_max * 1000)),
            ("grpc.max_connection_age_grace_ms", _CONNECTION_GRACE_MS),
        ]

    async def open(self) -> int:
        """Listen; returns the port.

        Raises:
            OSError: a file of the certificate cannot be used.
            RuntimeError: the address is taken, or not this host's.
        """
        self._server = aio.server(options=self._options)
        self._add(self._server)
        credentials = ReloadedCertificates(self._tls).credentials()
        port = self._server.add_secure_port(self._address, credentials)
        await self._server.start()
        log.info("listening", address=self._address, port=port)
        return port

    async def close(self) -> None:
        """End after the calls in work, or after a grace."""
        await self._server.stop(_STOP_SECONDS)
