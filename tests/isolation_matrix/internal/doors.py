"""The two ways of being known: the socket one comes through, and the certificate one shows."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
import grpc.aio
import trustme

from services.transport.callees import Callee
from services.transport.channels import open_aio_channel
from services.transport.identities import Identity, ProcessRole
from services.transport.tls_files import identity_files
from tenants.ids import TenantId
from tenants.run_directory import RunDirectory
from tests.integration.certificates import write_identity

_TENANTS_OWN: Final = (ProcessRole.WORKER, ProcessRole.BROKER)
# Signed by the right authority, and no name of ours.
_UNCLEAR_NAMES: Final = (
    "spiffe://elsewhere/tenant/{tenant}/worker",
    "spiffe://atelier/system/worker",
    "spiffe://atelier/tenant/{tenant}/recorder",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who calls a service of ours; ``channel`` leads to it."""

    name: str
    channel: Any


class Doors(Protocol):
    """How callers reach the services of an installation."""

    @property
    def refusal(self) -> str:
        """The code for everybody who has no right to a call."""
        ...

    def rightful(self, service: str, role: ProcessRole, *, tenant: str, gpu: str) -> Caller | None:
        """Return who may make a call; None where the service is not offered like this."""
        ...

    def others(self, service: str, role: ProcessRole, *, tenant: str, gpu: str) -> Iterator[Caller]:
        """Yield everybody else whom the system knows."""
        ...

    def strangers(self, service: str) -> Iterator[Caller]:
        """Yield those whom it does not know."""
        ...


@dataclass(frozen=True, slots=True)
class Sockets:
    """On one host: each socket offers what its callers need, and which it is says who calls."""

    run: RunDirectory
    refusal: str = "UNIMPLEMENTED"
    _channels: dict[Path, Any] = field(default_factory=dict[Path, Any])

    def rightful(self, service: str, role: ProcessRole, *, tenant: str, gpu: str) -> Caller | None:
        path = self.paths(tenant, gpu).get((service, role))
        return None if path is None else self._through(path)

    def others(self, service: str, role: ProcessRole, *, tenant: str, gpu: str) -> Iterator[Caller]:
        for place, path in self.paths(tenant, gpu).items():
            if place != (service, role):
                yield self._through(path)

    def strangers(self, service: str) -> Iterator[Caller]:
        """Who is in none of the sockets' groups is kept out by the kernel: a test of its own."""
        del service
        return iter(())

    def paths(self, tenant: str, gpu: str) -> Mapping[tuple[str, ProcessRole], Path]:
        """All sockets of a host, by what is offered to whom."""
        return {
            ("RecorderService", ProcessRole.WORKER): self.run.recorder_socket(tenant),
            ("RecorderService", ProcessRole.METER): self.run.recorder_meter_socket,
            ("RecorderService", ProcessRole.GATEWAY): self.run.recorder_gateway_socket,
            ("MeterService", ProcessRole.WORKER): self.run.marks_socket(tenant, gpu),
            ("MeterService", ProcessRole.FLEET): self.run.meter_socket,
        }

    def _through(self, path: Path) -> Caller:
        if path not in self._channels:
            self._channels[path] = grpc.aio.insecure_channel(f"unix:{path}")
        return Caller(name=path.name, channel=self._channels[path])


@dataclass(frozen=True, slots=True)
class Certificates:
    """Beyond one host: a port for each service, and the caller's certificate says who it is."""

    authority: trustme.CA
    directory: Path
    ports: Mapping[str, int]
    other_tenant: str
    refusal: str = "PERMISSION_DENIED"
    _channels: dict[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])

    def rightful(self, service: str, role: ProcessRole, *, tenant: str, gpu: str) -> Caller | None:
        del gpu
        return self._named(service, _uri(role, tenant))

    def others(self, service: str, role: ProcessRole, *, tenant: str, gpu: str) -> Iterator[Caller]:
        del gpu
        for other in ProcessRole:
            if other is not role:
                yield self._named(service, _uri(other, tenant))
                if other in _TENANTS_OWN:
                    yield self._named(service, _uri(other, self.other_tenant))
        for name in _UNCLEAR_NAMES:
            yield self._named(service, name.format(tenant=tenant))

    def strangers(self, service: str) -> Iterator[Caller]:
        target = f"localhost:{self.ports[service]}"
        roots = self.authority.cert_pem.bytes()
        nameless = grpc.ssl_channel_credentials(roots)
        yield Caller(name="no certificate", channel=grpc.aio.secure_channel(target, nameless))
        yield Caller(name="no TLS", channel=grpc.aio.insecure_channel(target))
        uri = _uri(ProcessRole.FLEET, "")
        forged = self._channel(service, uri, authority=trustme.CA())
        yield Caller(name="another authority", channel=forged)
        yield Caller(name="expired", channel=self._channel(service, uri, is_expired=True))

    def callee(self, service: str, uri: str, **wrong: Any) -> Callee:
        """A service as somebody with a certificate of this name reaches it."""
        place = Path(tempfile.mkdtemp(dir=self.directory))
        authority = wrong.pop("authority", self.authority)
        identity = write_identity(place, authority, uri, trusted=self.authority, **wrong)
        return Callee(target=f"localhost:{self.ports[service]}", tls=identity_files(identity))

    def _channel(self, service: str, uri: str, **wrong: Any) -> Any:
        return open_aio_channel(self.callee(service, uri, **wrong))

    def _named(self, service: str, uri: str) -> Caller:
        if (service, uri) not in self._channels:
            self._channels[service, uri] = self._channel(service, uri)
        return Caller(name=uri, channel=self._channels[service, uri])


def _uri(role: ProcessRole, tenant: str) -> str:
    return Identity(role=role, tenant_id=TenantId(tenant) if role in _TENANTS_OWN else None).uri
