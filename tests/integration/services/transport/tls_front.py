"""TLS before a broker's socket: the embedded Valkey is built without TLS, Kubernetes' is not.

What a client says and is told is Valkey's own; only the handshake is answered here.
"""

import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import AF_UNIX, SHUT_RDWR, create_server, socket
from threading import Thread

from services.transport.tls_files import TlsFiles

_CHUNK_BYTES = 64 * 1024


@contextmanager
def tls_front(socket_path: Path, tls: TlsFiles) -> Generator[int]:
    """Listen on loopback for callers with certificates; yields the port."""
    listener = create_server(("127.0.0.1", 0))
    accepting = Thread(target=_accept, args=(listener, socket_path, tls), daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(SHUT_RDWR)
        listener.close()
        accepting.join()


def _accept(listener: socket, socket_path: Path, tls: TlsFiles) -> None:
    while True:
        try:
            client, _address = listener.accept()
        except OSError:
            return
        Thread(target=_serve, args=(client, socket_path, tls), daemon=True).start()


def _serve(client: socket, socket_path: Path, tls: TlsFiles) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.client_ca_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tls.certificate_path, tls.key_path)
    with socket(AF_UNIX) as broker, suppress(OSError):
        broker.connect(str(socket_path))
        with context.wrap_socket(client, server_side=True) as secured:
            back = Thread(target=_pass_on, args=(broker, secured), daemon=True)
            back.start()
            _pass_on(secured, broker)
            broker.shutdown(SHUT_RDWR)
            back.join()


def _pass_on(source: socket, sink: socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            sink.sendall(chunk)
        sink.shutdown(SHUT_RDWR)
