"""A gateway with its edge as processes, a studio that calls through it, and what they take."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import psycopg

from atelier.client import Client
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.tenant_service_pb2 import Tenant
from database.migration_runner import migrate
from database.roles import RUN_TIME_ROLES
from services.gateway.bootstrap import make_first_operator_key
from services.standalone.embedded_postgres import start_postgres
from tests.integration.edge.running_edge import (
    NO_KNOBS,
    Certificates,
    haproxy,
    make_certificates,
)
from tests.integration.fixture_types import PASSWORD, Postgres

_PEPPER: Final = "a pepper for benchmarks, 32 characters"
_STATISTICS_SECONDS: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Edge and gateway that serve, and the studio beside which forgers come."""

    postgres: Postgres
    certificates: Certificates
    edge_port: int
    gateway_port: int
    gateway_process_id: int
    edge_process_id: int
    studio_key: str

    def memory_mebibytes(self) -> dict[str, float]:
        """Read what gateway and edge hold in memory."""
        return {
            "gateway": _resident(self.gateway_process_id),
            "edge": _resident(self.edge_process_id),
        }

    def processor_seconds(self) -> dict[str, float]:
        """Read what gateway and edge have worked so far."""
        return {
            "gateway": _worked(self.gateway_process_id),
            "edge": _worked(self.edge_process_id),
        }

    def transactions(self) -> int:
        """Count the database's transactions; sessions report theirs once a second."""
        time.sleep(_STATISTICS_SECONDS)
        with psycopg.connect(self.postgres.admin_url) as connection:
            row = connection.execute(
                "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def open_door(*, edge_cores: Sequence[int]) -> Generator[Door]:
    """Start everything; with cores named, the edge keeps to those."""
    directory = Path(tempfile.mkdtemp(prefix="atl-"))
    directory.chmod(0o755)
    server = start_postgres(
        data_directory=directory / "data",
        socket_directory=directory / "socket",
        log_path=directory / "postgres.log",
        admin_password=PASSWORD,
    )
    try:
        migrate(server.admin_url, role_passwords=dict.fromkeys(RUN_TIME_ROLES, PASSWORD))
        yield from _with_processes(Postgres(admin_url=server.admin_url), directory, edge_cores)
    finally:
        server.stop()
        shutil.rmtree(directory)


def _with_processes(
    postgres: Postgres, directory: Path, edge_cores: Sequence[int]
) -> Generator[Door]:
    certificates = make_certificates(directory)
    port = _free_port()
    with (
        _served(postgres, directory, certificates, port) as gateway,
        haproxy(certificates, directory, port, NO_KNOBS) as edge,
    ):
        for process in _family(edge.process_id) if edge_cores else ():
            for thread in process.threads():
                os.sched_setaffinity(thread.id, edge_cores)
        yield Door(
            postgres=postgres,
            certificates=certificates,
            edge_port=edge.port,
            gateway_port=port,
            gateway_process_id=gateway.pid,
            edge_process_id=edge.process_id,
            studio_key=_studio_key(postgres, f"https://localhost:{edge.port}", certificates),
        )


@contextmanager
def _served(
    postgres: Postgres, directory: Path, certificates: Certificates, port: int
) -> Generator[subprocess.Popen[bytes]]:
    """A gateway as a process of its own."""
    (directory / "objects").mkdir()
    values = {
        "LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "TLS_CERTIFICATE_PATH": str(certificates.certificate),
        "TLS_KEY_PATH": str(certificates.key),
        "TRUSTED_PROXIES": '["127.0.0.0/8"]',
        "DATABASE_URL": postgres.url("atelier_gateway"),
        "OPERATOR_DATABASE_URL": postgres.url("atelier_operator"),
        "RUN_DIRECTORY": str(directory),
        "OBJECTS_URL": (directory / "objects").as_uri(),
        "KEY_PEPPER": _PEPPER,
        "PAGE_TOKEN_SECRET": "a secret for benchmarks, 32 characters",
    }
    environment = os.environ | {f"ATELIER_GATEWAY_{name}": text for name, text in values.items()}
    with (directory / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.gateway"], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _studio_key(postgres: Postgres, address: str, certificates: Certificates) -> str:
    """Make a studio; returns the key of a member."""
    operator_key = asyncio.run(
        make_first_operator_key(
            postgres.url("atelier_operator"), pepper=_PEPPER.encode(), another=False
        )
    )
    root = certificates.authority
    with Client(address, api_key=operator_key, root_certificates=root) as operator:
        operator.create_tenant("neighbour", Tenant(display_name="Neighbour"))
    with Client(
        address, api_key=operator_key, tenant="neighbour", root_certificates=root
    ) as operator:
        return operator.create_api_key(ApiKey(role=KeyRole.KEY_ROLE_MEMBER)).secret


def _family(process_id: int) -> list[psutil.Process]:
    process = psutil.Process(process_id)
    return [process, *process.children(recursive=True)]


def _resident(process_id: int) -> float:
    return round(sum(one.memory_info().rss for one in _family(process_id)) / 2**20, 1)


def _worked(process_id: int) -> float:
    times = [one.cpu_times() for one in _family(process_id)]
    return sum(one.user + one.system for one in times)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
