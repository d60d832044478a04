"""Where a tenant's broker listens: a UNIX socket of this host, or an address spoken to with TLS."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.transport.tls_files import TlsFiles, identity_files
from tenants.run_directory import RunDirectory, broker_url

_CONNECT_SECONDS: Final = 1.0
_TENANT: Final = "{tenant_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlace:
    """One broker's; ``tls`` belongs to an address (host, port), never to a socket."""

    listens_at: Path | tuple[str, int]
    tls: TlsFiles | None = None

    @property
    def url(self) -> str:
        """How kombu is told."""
        if isinstance(self.listens_at, Path):
            return broker_url(self.listens_at)
        host, port = self.listens_at
        return f"redis://{host}:{port}/0"

    @property
    def tls_options(self) -> dict[str, object] | None:
        """What kombu hands to each new connection, which reads the files then; None: no TLS."""
        if self.tls is None:
            return None
        return {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_check_hostname": True,
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
            "ssl_ca_certs": str(self.tls.client_ca_path),
            "ssl_certfile": str(self.tls.certificate_path),
            "ssl_keyfile": str(self.tls.key_path),
        }

    def check_that_somebody_listens(self) -> None:
        """Fail at once when nobody does; the client library would try again for 2 to 6 seconds.

        Raises:
            OSError: nobody.
        """
        if not isinstance(self.listens_at, Path):
            self._check_that_it_answers(self.listens_at)
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_CONNECT_SECONDS)
            probe.connect(str(self.listens_at))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect without a client library.

        Raises:
            OSError: nobody listens, or not whom the authority knows.
        """
        if isinstance(self.listens_at, Path):
            return await asyncio.open_unix_connection(self.listens_at)
        host, port = self.listens_at
        return await asyncio.open_connection(host, port, ssl=self._context())

    def _check_that_it_answers(self, address: tuple[str, int]) -> None:
        """A handshake alone does not tell yet whether our certificate was taken."""
        with (
            socket.create_connection(address, timeout=_CONNECT_SECONDS) as connection,
            self._context().wrap_socket(connection, server_hostname=address[0]) as secured,
        ):
            secured.sendall(b"PING\r\n")
            if not secured.recv(64):
                raise ConnectionResetError("the broker hung up")

    def _context(self) -> ssl.SSLContext:
        assert self.tls is not None, "an address is spoken to with TLS"
        context = ssl.create_default_context(cafile=self.tls.client_ca_path)
        context.load_cert_chain(self.tls.certificate_path, self.tls.key_path)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlaces:
    """All tenants' brokers: by a pattern of addresses, else by their sockets."""

    run: RunDirectory
    address_template: str | None = None
    identity_directory: Path | None = None

    def of(self, tenant_id: str) -> BrokerPlace:
        if self.address_template is None:
            return BrokerPlace(listens_at=self.run.broker_socket(tenant_id))
        address = self.address_template.replace(_TENANT, tenant_id)
        return broker_at(address, self.identity_directory)


def broker_at(address: str, identity_directory: Path | None) -> BrokerPlace:
    """Return the broker at host:port."""
    assert identity_directory is not None, "the settings have been checked"
    host, _, port = address.rpartition(":")
    return BrokerPlace(listens_at=(host, int(port)), tls=identity_files(identity_directory))


def check_broker_template(template: str | None) -> None:
    """Refuse a pattern that leads every tenant to one broker, or nowhere.

    Raises:
        ValueError: says what it needs.
    """
    if template is None:
        return
    port = template.rpartition(":")[2]
    if _TENANT not in template or not port.isdecimal():
        raise ValueError(f"broker_address_template: host:port with {_TENANT} in it")
