"""HAProxy with the configuration that ships, in front of a real gateway that speaks TLS."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import grpc.aio
import pytest
import trustme

from atelier.async_client import AsyncClient
from atelier.names import OWN_TENANT
from atelier.retries import NO_RETRIES, RetryPolicy
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.money_pb2 import Money
from atelier.v1.tenant_service_pb2 import Tenant
from services.gateway.bootstrap import make_first_operator_key
from services.gateway.serving import serving
from tenants.ids import TenantId
from tenants.launchers.child_process import ChildProcess, end, is_running, start_child
from tests.architecture.source_tree import ROOT
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import (
    PEPPER,
    flat_price,
    gateway_settings,
)

CONFIGURATION: Final = ROOT / "docker" / "edge" / "haproxy.cfg"
# Where Debian puts it; not on everybody's PATH.
PROGRAM: Final = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
NO_KNOBS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """One authority, and the files of edge and gateway."""

    authority: bytes
    certificate: Path
    key: Path
    root: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningHaproxy:
    """Where it listens; the process is the master of the one that works."""

    port: int
    metrics_port: int
    process_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An edge that listens, the gateway behind it, and an operator's key."""

    port: int
    metrics_port: int
    certificates: Certificates
    operator_key: str

    @property
    def address(self) -> str:
        return f"https://localhost:{self.port}"

    def client(
        self, key: str, *, tenant: str = OWN_TENANT, retry_policy: RetryPolicy = NO_RETRIES
    ) -> AsyncClient:
        """The SDK, without its patience unless it is given some."""
        return AsyncClient(
            self.address,
            api_key=key,
            tenant=tenant,
            retry_policy=retry_policy,
            root_certificates=self.certificates.authority,
        )

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own, for what the SDK would not send."""
        credentials = grpc.ssl_channel_credentials(self.certificates.authority)
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(f"localhost:{self.port}", credentials, options=options)

    async def new_studio(self, *, networks: Sequence[str] = ()) -> "Studio":
        """Make a tenant with credit, and an admin's key with which nobody has called yet."""
        name = f"studio-{secrets.token_hex(6)}"
        async with self.client(self.operator_key, tenant=name) as operator:
            await operator.create_tenant(name, Tenant(display_name=name, currency_code="USD"))
            await operator.grant_credit(Money(currency_code="USD", nanos=10**12))
            await operator.create_price_version(flat_price())
            made = await operator.create_api_key(
                ApiKey(role=KeyRole.KEY_ROLE_ADMIN, allowed_networks=networks)
            )
        return Studio(tenant_id=TenantId(name), key=made.secret, key_name=made.api_key.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """A tenant and its key."""

    tenant_id: TenantId
    key: str
    key_name: str


def make_certificates(directory: Path) -> Certificates:
    """Issue one certificate for edge and gateway; HAProxy finds the key by its name."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1", "gateway")
    certificate, key, root = (directory / name for name in ("tls", "tls.key", "root"))
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    root.write_bytes(authority.cert_pem.bytes())
    return Certificates(
        authority=authority.cert_pem.bytes(), certificate=certificate, key=key, root=root
    )


@asynccontextmanager
async def running_edge(
    postgres: Postgres,
    directory: Path,
    *,
    knobs: Mapping[str, str] = NO_KNOBS,
    **gateway: Any,
) -> AsyncGenerator[Edge]:
    """Gateway and edge, joined as in docker/compose.yaml; knobs are those of the configuration."""
    certificates = make_certificates(directory)
    settings = gateway_settings(
        postgres,
        directory,
        tls_certificate_path=certificates.certificate,
        tls_key_path=certificates.key,
        trusted_proxies=["127.0.0.0/8"],
        **gateway,
    )
    operator_key = await make_first_operator_key(
        postgres.url("atelier_operator"), pepper=PEPPER.encode(), another=True
    )
    async with serving(settings) as gateway_port:
        with haproxy(certificates, directory, gateway_port, knobs) as running:
            yield Edge(
                port=running.port,
                metrics_port=running.metrics_port,
                certificates=certificates,
                operator_key=operator_key,
            )


@contextmanager
def haproxy(
    certificates: Certificates, directory: Path, gateway_port: int, knobs: Mapping[str, str]
) -> Generator[RunningHaproxy]:
    """Run it on two free ports: its sockets are ours, so nobody else can take them."""
    assert PROGRAM is not None, "NOT TESTED: there is no haproxy. On Debian: apt install haproxy"
    with listening_socket() as callers, listening_socket() as metrics:
        values = {
            "LISTEN_ADDRESS": f"fd@{callers.fileno()}",
            "METRICS_ADDRESS": f"fd@{metrics.fileno()}",
            "GATEWAY_ADDRESS": f"127.0.0.1:{gateway_port}",
            "TLS_CERTIFICATE_PATH": str(certificates.certificate),
            "GATEWAY_ROOT_CERTIFICATES_PATH": str(certificates.root),
            **knobs,
        }
        child = start_child(
            [PROGRAM, "-W", "-db", "-f", CONFIGURATION],
            environment={
                f"ATELIER_EDGE_{name}": text for name, text in {**values, **knobs}.items()
            },
            log_path=directory / "edge.log",
            death_signal=signal.SIGKILL,
            open_files=[callers.fileno(), metrics.fileno()],
        )
        try:
            wait_for_metrics(child, directory / "edge.log", metrics.getsockname()[1])
            yield RunningHaproxy(
                port=callers.getsockname()[1],
                metrics_port=metrics.getsockname()[1],
                process_id=child.pid,
            )
        finally:
            end(child, patience_seconds=10)


def wait_for_metrics(child: ChildProcess, log: Path, port: int) -> None:
    """Wait until it answers: its sockets take connections before it runs, and if it never does."""
    while is_running(child):
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1):
            return
    pytest.fail(f"haproxy ended: {log.read_text()}")


def listening_socket() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=512)
