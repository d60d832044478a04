"""Whom a process calls: a socket of its host, or an address beyond it with its certificate."""

from dataclasses import dataclass
from pathlib import Path

from services.transport.tls_files import TlsFiles, identity_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """``target`` as grpc writes it; with ``tls`` both sides show certificates.

    ``server_name`` stands in the server's certificate where the target is one address of many.
    """

    target: str
    tls: TlsFiles | None = None
    server_name: str | None = None

    def change_times(self) -> tuple[int, ...]:
        """Tell when the certificate was last renewed; nothing changes on a UNIX socket."""
        return () if self.tls is None else self.tls.change_times()


def socket_callee(path: Path) -> Callee:
    """Return who listens on a UNIX socket."""
    return Callee(target=f"unix:{path}")


def callee_of(address: str | None, identity_directory: Path | None, *, socket: Path) -> Callee:
    """Return who is meant by the settings: the socket where no address is set."""
    if address is None:
        return socket_callee(socket)
    assert identity_directory is not None, "the settings have been checked"
    return Callee(target=address, tls=identity_files(identity_directory))
