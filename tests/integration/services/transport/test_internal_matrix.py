"""No process of ours learns or changes anything of a tenant that it has no right to."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import pytest
from pydantic import SecretStr

from services.fleet.scaler import serving_scaler
from services.fleet.settings import Settings as FleetSettings
from services.gateway.services_table import SERVICES
from services.transport.callees import Callee, socket_callee
from services.transport.identities import ProcessRole
from services.worker.meter_client import MeterClient
from tenants.ids import GpuId, SessionId
from tenants.run_directory import RunDirectory
from tenants.tenant_directories import TenantDirectories, group_of
from tests.integration.certificates import write_identity
from tests.integration.fixture_types import Postgres
from tests.integration.installation import Process, eventually, open_studio, until_served
from tests.integration.services.transport.conftest import Place, system_uri, worker_uri
from tests.integration.services.transport.metered_host import metered_host
from tests.integration.services.transport.test_meter import fresh_gpu_id, refusal, started
from tests.isolation_matrix import document
from tests.isolation_matrix.internal.calls import CALLS
from tests.isolation_matrix.internal.contract import ROOT, fields_with_names, methods, name_of
from tests.isolation_matrix.internal.doors import Certificates, Sockets
from tests.isolation_matrix.internal.matrix import (
    InternalMatrix,
    Line,
    method_of,
    naming_fields,
    unnumbered,
)
from tests.isolation_matrix.internal.world import Side, asking, make_side
from tests.isolation_matrix.rows import rows_of

pytestmark = pytest.mark.integration

ADDED_SERVICER: Final = re.compile(r"\badd_(\w+)Servicer_to_server\(")
# grpc's own, on the gateway; it tells nothing of any tenant.
HEALTH: Final = "Health"

# Gives up root for good and tries to come in everywhere; prints how each try ended.
AS_A_USER: Final = """
import json, os, socket, sys
user, paths = int(sys.argv[1]), sys.argv[2:]
os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
def tried(path):
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            return type(error).__name__
    return "connected"
print(json.dumps([tried(path) for path in paths]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A recorder and a meter as processes, and the directories of two tenants."""

    place: Place
    run: RunDirectory
    # Tenant → the device that it has a directory for.
    gpus: Mapping[str, str]


@pytest.fixture
async def host(place: Place, fresh_tenant_id: str) -> AsyncGenerator[Host]:
    run = RunDirectory(place.directory)
    # Tenants pass through to their own directory, as they do below /run.
    run.path.chmod(0o711)
    directories = TenantDirectories(run, first_group=220_000 if os.geteuid() == 0 else None)
    gpus = {f"{fresh_tenant_id}-a": "cpu-0", f"{fresh_tenant_id}-b": "cpu-1"}
    for tenant_id, gpu_id in gpus.items():
        directories.make(tenant_id)
        directories.make_gpu(tenant_id, gpu_id)
    with metering(run):
        for tenant_id, gpu_id in gpus.items():
            await until_served(run.recorder_socket(tenant_id))
            await until_served(run.marks_socket(tenant_id, gpu_id))
        yield Host(place=place, run=run, gpus=gpus)


@contextmanager
def metering(run: RunDirectory) -> Generator[None]:
    environment = {
        "ATELIER_METER_RUN_DIRECTORY": str(run.path),
        "ATELIER_METER_USE_GPUS": "false",
    }
    meter = Process(name="meter", environment=environment, log_path=run.path / "meter.log")
    meter.start()
    yield
    meter.end()


def test_every_call_between_our_processes_has_its_entry_and_no_other_has() -> None:
    assert {call.partition(" ")[0] for call in CALLS} == {name_of(method) for method in methods()}


def test_an_entry_names_all_that_the_contract_lets_its_caller_name() -> None:
    unnamed = {
        call: missing
        for call, entry in CALLS.items()
        if (
            missing := fields_with_names(method_of(call))
            - {unnumbered(path).removesuffix(".tenant") for path in naming_fields(entry)}
            - {path.removesuffix(".tenant") for path in entry.free}
        )
    }

    assert unnamed == {}


def test_no_process_serves_anything_that_is_in_neither_matrix() -> None:
    served = {
        name
        for path in (ROOT / "services").rglob("*.py")
        if not path.name.endswith("_pb2_grpc.py")
        for name in ADDED_SERVICER.findall(path.read_text())
    }

    internal = {method.containing_service.name for method in methods()}
    assert served == internal | {service.name for service in SERVICES} | {HEALTH}


async def test_no_process_learns_anything_of_a_tenant_that_it_has_no_right_to(
    host: Host, postgres: Postgres
) -> None:
    async with by_sockets(host, postgres) as matrix:
        sockets = await told_by(matrix, postgres)
    async with by_certificates(host, postgres) as matrix:
        certificates = await told_by(matrix, postgres)

    told = document.internal_part(sockets=sockets, certificates=certificates)
    if os.environ.get("ATELIER_WRITE_ISOLATION_MATRIX"):
        document.write(internal=told)
    assert document.read().internal == told, "make isolation-matrix"


async def told_by(matrix: InternalMatrix, postgres: Postgres) -> list[Line]:
    """Ask everything; nothing leaks, and nothing of the other tenant's is another than before."""
    other = matrix.other.studio
    before = await rows_of(postgres.admin_url, other.tenant_id)

    lines = await matrix.run()

    print(f"{matrix.cell_count} requests")
    assert matrix.problems == []
    after = await rows_of(postgres.admin_url, other.tenant_id)
    # Its worker is there and does nothing; the meter goes on telling so.
    kinds = await other.rows(
        "SELECT DISTINCT kind FROM energy_segments WHERE tenant_id = %s", other.tenant_id
    )
    assert [row["kind"] for row in kinds] in ([], ["PARKED"])
    del before["energy_segments"], after["energy_segments"]
    assert after == before
    return lines


@asynccontextmanager
async def by_sockets(host: Host, postgres: Postgres) -> AsyncGenerator[InternalMatrix]:
    async with AsyncExitStack() as stack:
        recorders = {
            tenant_id: socket_callee(host.run.recorder_socket(tenant_id)) for tenant_id in host.gpus
        }
        asker, other = await stack.enter_async_context(
            living_sides(postgres, host.place.directory, recorders, [*host.gpus.values()])
        )
        marks = host.run.marks_socket(other.tenant_id, other.names.values["gpu"])
        await stack.enter_async_context(attending_marks(other, socket_callee(marks)))
        yield InternalMatrix(doors=Sockets(host.run), asker=asking(asker), other=other)


@asynccontextmanager
async def by_certificates(host: Host, postgres: Postgres) -> AsyncGenerator[InternalMatrix]:
    tenants = [f"{tenant_id}-tcp" for tenant_id in host.gpus]
    gpus = [fresh_gpu_id() for _ in tenants]
    async with AsyncExitStack() as stack:
        metered = await stack.enter_async_context(metered_host(host.place, *gpus))
        scaler = await stack.enter_async_context(serving_scaler(fleet_settings(host, postgres)))
        assert scaler is not None
        doors = Certificates(
            authority=host.place.authority,
            directory=host.place.directory,
            ports={
                "RecorderService": await host.place.port(),
                "MeterService": metered.port,
                "ExternalScaler": scaler,
            },
            other_tenant=tenants[1],
        )
        recorders = {
            tenant_id: doors.callee("RecorderService", worker_uri(tenant_id))
            for tenant_id in tenants
        }
        asker, other = await stack.enter_async_context(
            living_sides(postgres, host.place.directory, recorders, gpus)
        )
        meter = doors.callee("MeterService", worker_uri(other.tenant_id))
        await stack.enter_async_context(attending_marks(other, meter))
        stranger = doors.callee("MeterService", worker_uri(asker.tenant_id))
        await until_taken(stranger, other.names.values["gpu"])
        yield InternalMatrix(doors=doors, asker=asking(asker), other=other)


@asynccontextmanager
async def living_sides(
    postgres: Postgres, directory: Path, recorders: Mapping[str, Callee], gpus: Sequence[str]
) -> AsyncGenerator[list[Side]]:
    """Make tenants whose workers' sessions live for as long as the block lasts."""
    studios = [await open_studio(postgres, tenant_id) for tenant_id in recorders]
    sides = await asyncio.gather(
        *(
            make_side(studio, recorder, gpu_id=gpu_id, directory=directory)
            for studio, recorder, gpu_id in zip(studios, recorders.values(), gpus, strict=True)
        )
    )
    yield sides
    for side in sides:
        await asyncio.to_thread(side.session.close)


@asynccontextmanager
async def attending_marks(side: Side, meter: Callee) -> AsyncGenerator[None]:
    """The side's worker is on its device for as long as the block lasts."""
    marks = MeterClient(
        meter=meter,
        session_id=SessionId(side.session.session_id),
        gpu_id=GpuId(side.names.values["gpu"]),
    )
    async with started(marks):
        yield


async def until_taken(stranger: Callee, gpu_id: str) -> None:
    async def taken() -> bool | None:
        code = await asyncio.to_thread(refusal, stranger, gpu_id=gpu_id)
        return True if code is grpc.StatusCode.FAILED_PRECONDITION else None

    await eventually(taken, what="a device that is taken")


def fleet_settings(host: Host, postgres: Postgres) -> FleetSettings:
    directory = host.place.directory
    uri = system_uri(ProcessRole.FLEET)
    return FleetSettings(
        database_url=SecretStr(postgres.url("atelier_fleet")),
        run_directory=directory,
        broker_data_directory=directory,
        log_directory=directory,
        model_catalogue_path=directory,
        assigns=False,
        scaler_listen_address="127.0.0.1:0",
        identity_directory=write_identity(directory / "fleet-tls", host.place.authority, uri),
        picture_seconds_before_measured=10.0,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT CHECKED: only root gives tenants users")
async def test_a_tenants_user_comes_in_at_its_own_sockets_and_a_stranger_at_none(
    host: Host,
) -> None:
    (ours, our_gpu), (theirs, their_gpu) = host.gpus.items()
    doors = Sockets(host.run)
    system = [path for (_, role), path in doors.paths(ours, our_gpu).items() if role != "worker"]
    own = [host.run.recorder_socket(ours), host.run.marks_socket(ours, our_gpu)]
    foreign = [host.run.recorder_socket(theirs), host.run.marks_socket(theirs, their_gpu)]

    tenant = group_of(host.run.tenant_directory(ours))
    as_tenant, as_stranger = [
        tried_by(user, [*own, *foreign, *system]) for user in (tenant, 299_999)
    ]

    assert as_tenant == ["connected"] * 2 + ["PermissionError"] * 5
    assert as_stranger == ["PermissionError"] * 7


def tried_by(user: int, paths: list[Path]) -> list[str]:
    tried = subprocess.run(
        [sys.executable, "-I", "-c", AS_A_USER, str(user), *paths],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(tried.stdout)
