"""The HTTP server of `/metrics`: clear text, without a key, for an address nobody else reaches.

It has threads of its own, so a scrape is answered also while the process is busy.
"""

import socket
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from threading import Thread
from typing import Annotated, Final, TypeAlias, cast
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import structlog
from prometheus_client import exposition as library
from prometheus_client.exposition import ThreadingWSGIServer
from pydantic import AfterValidator

from services.metrics.exposition import Exposition

PATH: Final = "/metrics"
# Of one who connected and asks nothing.
_PATIENCE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05

_Application: TypeAlias = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]

log = structlog.get_logger()


def split_address(address: str) -> tuple[str, int]:
    """Read host and port; port 0: any.

    Raises:
        ValueError: it is not of the form host:port.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{address}: must be host:port")
    return host.strip("[]"), int(port)


def _checked(address: str) -> str:
    split_address(address)
    return address


ListenAddress: TypeAlias = Annotated[str, AfterValidator(_checked)]


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: a scrape is no news."""


class _FourServer(ThreadingWSGIServer):
    """Listens on an address of IPv4, or a name of one."""


class _SixServer(ThreadingWSGIServer):
    """Listens on an address of IPv6."""

    address_family = socket.AF_INET6


@contextmanager
def serving_metrics(exposition: Exposition, address: str | None) -> Generator[int | None]:
    """Answer scrapes while this is open; yields the port. Without an address: nothing.

    Raises:
        OSError: the address is taken, or not this host's.
    """
    if address is None:
        yield None
        return
    host, port = split_address(address)
    server = make_server(
        host,
        port,
        _only_metrics(_application(exposition)),
        _SixServer if ":" in host else _FourServer,
        handler_class=_Handler,
    )
    thread = Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="metrics", daemon=True)
    thread.start()
    log.info("metrics_served", host=host, port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _application(exposition: Exposition) -> _Application:
    # The library says nothing of what it returns; WSGI does.
    made: object = library.make_wsgi_app(exposition.registry)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return cast("_Application", made)


def _only_metrics(metrics: _Application) -> _Application:
    def answer(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environment.get("PATH_INFO") == PATH:
            return metrics(environment, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"there is /metrics and nothing else\n"]

    return answer
