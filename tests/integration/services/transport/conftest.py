"""A recorder that listens on TCP, an authority, and identities signed by it."""

import json
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import pytest
import trustme

from services.transport.callees import Callee
from services.transport.identities import Identity, ProcessRole
from services.transport.tls_files import identity_files
from tenants.ids import TenantId
from tests.integration.certificates import write_identity
from tests.integration.fixture_types import Postgres
from tests.integration.installation import (
    Process,
    Studio,
    eventually,
    open_studio,
    recorder_process,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One installation's certificates and the recorder that they are for."""

    authority: trustme.CA
    directory: Path
    recorder: Process

    @property
    def recorder_identity(self) -> Path:
        return self.directory / "identity"

    async def port(self) -> int:
        """Where the recorder listens; its log says it."""

        async def logged() -> int | None:
            for line in self.recorder.log().splitlines():
                if '"listening"' in line:
                    return int(json.loads(line)["port"])
            assert self.recorder.is_running, self.recorder.log()
            return None

        return await eventually(logged, what="a recorder that listens")

    async def caller(
        self,
        uri: str,
        *,
        authority: trustme.CA | None = None,
        is_expired: bool = False,
    ) -> Callee:
        """The recorder as somebody with a certificate of this name reaches it."""
        directory = write_identity(
            Path(tempfile.mkdtemp(dir=self.directory)),
            authority or self.authority,
            uri,
            trusted=self.authority,
            is_expired=is_expired,
        )
        return Callee(target=f"localhost:{await self.port()}", tls=identity_files(directory))


def worker_uri(tenant_id: str) -> str:
    return Identity(role=ProcessRole.WORKER, tenant_id=TenantId(tenant_id)).uri


def system_uri(role: ProcessRole) -> str:
    return Identity(role=role).uri


@pytest.fixture(scope="module")
def place(postgres: Postgres) -> Generator[Place]:
    authority = trustme.CA()
    directory = Path(tempfile.mkdtemp(prefix="atl-"))
    identity = write_identity(directory / "identity", authority, system_uri(ProcessRole.RECORDER))
    recorder = recorder_process(
        postgres,
        directory,
        listen_address="127.0.0.1:0",
        identity_directory=identity,
        energy_wait_seconds=0.1,
    )
    recorder.start()
    yield Place(authority=authority, directory=directory, recorder=recorder)
    recorder.end()
    rmtree(directory)


@pytest.fixture
async def studios(postgres: Postgres, fresh_tenant_id: str) -> tuple[Studio, Studio]:
    return (
        await open_studio(postgres, f"{fresh_tenant_id}-a"),
        await open_studio(postgres, f"{fresh_tenant_id}-b"),
    )
