"""A small https server on a free port of loopback, under an authority of its own."""

import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered."""

    content: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsServer:
    """Where it listens, and who signed its certificate (PEM)."""

    port: int
    ca_path: Path


@contextmanager
def serving_https(
    answer: Callable[[str], Reply], *, name: str, directory: Path
) -> Generator[HttpsServer]:
    """Answer requests by their path, under the certificate of a name."""
    authority: Any = trustme.CA()
    ca_path = directory / "https-ca.pem"
    authority.cert_pem.write_to_path(str(ca_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    cast("Any", server).answer = answer
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield HttpsServer(port=server.server_port, ca_path=ca_path)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        reply: Reply = cast("Any", self.server).answer(self.path)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's
        """Say nothing."""
