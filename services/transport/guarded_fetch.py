"""Fetches a small document by https from an address that somebody else named, and nowhere else.

The name is resolved once, refused if any of its addresses must not be called, and the connection
goes to an address that was looked at. The certificate must be the name's. No redirects, no proxy,
no cookies, and never more bytes or seconds than the bounds say.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from socket import SOCK_STREAM
from typing import Final
from urllib.parse import urlsplit

import httpcore2
from httpcore2 import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from services.transport.errors import FetchError
from services.transport.public_addresses import (
    Address,
    Network,
    may_be_called,
    read_resolved,
)

_HTTPS_PORT: Final = 443
_STATUS_OK: Final = 200
# httpcore's own errors have no common root.
_HTTP_ERRORS: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchBounds:
    """What a fetch may cost."""

    bytes_max: int = 256 * 1024
    seconds_max: float = 5.0


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Ask the system for all addresses of a name."""
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, port, type=SOCK_STREAM)
    return [read_resolved(str(answer[4][0])) for answer in answers]


class GuardedFetcher:
    """Fetches by https; ``private_networks`` may be called although they are not public."""

    def __init__(
        self,
        *,
        private_networks: Iterable[Network] = (),
        ports: frozenset[int] = frozenset({_HTTPS_PORT}),
        tls: ssl.SSLContext | None = None,
        bounds: FetchBounds | None = None,
        resolver: Resolver = resolve,
    ) -> None:
        self._backend = _GuardedBackend(
            private_networks=tuple(private_networks), ports=ports, resolver=resolver
        )
        self._tls = tls or ssl.create_default_context()
        self._bounds = bounds or FetchBounds()

    async def fetch(self, url: str) -> bytes:
        """Return what lies at an address.

        Raises:
            FetchError: it must not be called, does not answer in time, or answers something else
                than a document that is small enough.
        """
        check_url(url)
        try:
            async with asyncio.timeout(self._bounds.seconds_max):
                return await self._fetch(url)
        except (*_HTTP_ERRORS, OSError, UnicodeError) as error:
            # TimeoutError is an OSError; a name that is none of DNS's is a UnicodeError.
            raise FetchError(f"{type(error).__name__}: {error}") from error

    async def _fetch(self, url: str) -> bytes:
        async with (
            httpcore2.AsyncConnectionPool(
                ssl_context=self._tls, network_backend=self._backend
            ) as pool,
            pool.stream(
                "GET",
                url,
                headers={"accept": "application/json", "accept-encoding": "identity"},
            ) as response,
        ):
            if response.status != _STATUS_OK:
                raise FetchError(f"answered {response.status}")
            if any(name.lower() == b"content-encoding" for name, _ in response.headers):
                raise FetchError("answered compressed, which was not asked for")
            return await self._read(response)

    async def _read(self, response: httpcore2.Response) -> bytes:
        content = bytearray()
        async for chunk in response.aiter_stream():
            content += chunk
            if len(content) > self._bounds.bytes_max:
                raise FetchError(f"answered more than {self._bounds.bytes_max} bytes")
        return bytes(content)


def check_url(url: str) -> None:
    """Refuse what is no plain https address.

    Raises:
        FetchError: says what is wrong with it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FetchError(f"is no address: {error}") from error
    if parts.scheme != "https" or not parts.hostname or port == 0:
        raise FetchError("must be https://host/…")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise FetchError("must have neither a user nor a fragment")
    if not url.isascii() or any(
        not character.isprintable() or character in " \\" for character in url
    ):
        raise FetchError("has characters that no address has")


class _GuardedBackend(AsyncNetworkBackend):
    """Connects to addresses that were looked at; TLS goes on checking the name."""

    def __init__(
        self, *, private_networks: tuple[Network, ...], ports: frozenset[int], resolver: Resolver
    ) -> None:
        self._private_networks = private_networks
        self._ports = ports
        self._resolver = resolver
        self._network = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        address = await self._address(host, port)
        return await self._network.connect_tcp(
            str(address),
            port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )

    async def _address(self, host: str, port: int) -> Address:
        if port not in self._ports:
            raise FetchError(f"port {port} is not one that is called")
        addresses = await self._resolver(host, port)
        for address in addresses:
            if not may_be_called(address, private_networks=self._private_networks):
                raise FetchError(f"{host} leads to {address}, which is not public")
        if not addresses:
            raise FetchError(f"{host} has no address")
        return addresses[0]
