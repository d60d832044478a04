"""Channels to a callee; a renewed certificate is used by the next call, without a restart.

grpc reads a client's certificate once for each channel, so a renewed one needs another channel.
What runs on the old one goes on until the renewal after that.
"""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import grpc
import structlog
from grpc import aio

from services.transport.callees import Callee
from services.transport.tls_files import TlsFiles

ChannelT = TypeVar("ChannelT")
Options = Sequence[tuple[str, int | str]]

# A node that vanished sends no end of its connections; on a UNIX socket the kernel does.
_KEEP_ALIVE: Final[Options] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)

log = structlog.get_logger()


def open_channel(callee: Callee, options: Options = ()) -> grpc.Channel:
    """Open a channel; it connects when it is used."""
    if callee.tls is None:
        return grpc.insecure_channel(callee.target, options=[*options])
    credentials = _credentials(callee.tls)
    return grpc.secure_channel(callee.target, credentials, options=_options(callee, options))


def open_aio_channel(callee: Callee, options: Options = ()) -> aio.Channel:
    """Open a channel of this event loop; it connects when it is used."""
    if callee.tls is None:
        return aio.insecure_channel(callee.target, options=[*options])
    credentials = _credentials(callee.tls)
    return aio.secure_channel(callee.target, credentials, options=_options(callee, options))


class RenewedChannel(Generic[ChannelT]):
    """The channel to call through: ``now`` before each call."""

    def __init__(self, callee: Callee, open_one: Callable[[Callee], ChannelT]) -> None:
        self._callee = callee
        self._open_one = open_one
        self._change_times = callee.change_times()
        self._channel = open_one(callee)
        self._before: ChannelT | None = None

    def now(self) -> ChannelT:
        """Return the channel with the certificate that is in the files now."""
        try:
            change_times = self._callee.change_times()
            if change_times != self._change_times:
                # The channel before the one before closes when nobody holds it any more.
                self._before, self._channel = self._channel, self._open_one(self._callee)
                self._change_times = change_times
                log.info("certificate_renewed", callee=self._callee.target)
        except OSError as error:
            # Half renewed: the certificate before is as good as it was a moment ago.
            log.warning("tls_files_unfit", error=type(error).__qualname__)
        return self._channel

    def opened(self) -> list[ChannelT]:
        """Return all that are to be closed at the end."""
        return [self._channel] if self._before is None else [self._channel, self._before]


def _options(callee: Callee, options: Options) -> list[tuple[str, int | str]]:
    name = callee.server_name
    named = [] if name is None else [("grpc.ssl_target_name_override", name)]
    return [*options, *_KEEP_ALIVE, *named]


def _credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    content = files.read()
    return grpc.ssl_channel_credentials(
        root_certificates=content.authority,
        private_key=content.key,
        certificate_chain=content.certificate,
    )
