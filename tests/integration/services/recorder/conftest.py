"""A recorder as a process, one tenant, and a session of a worker that a test speaks for."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from tenants.run_directory import RunDirectory
from tests.integration.fixture_types import Postgres
from tests.integration.installation import (
    Process,
    Studio,
    make_tenant_directory,
    open_studio,
    recorder_process,
    until_served,
)
from tests.integration.services.recorder.session import Session


@pytest.fixture
async def studio(postgres: Postgres, fresh_tenant_id: str) -> Studio:
    return await open_studio(postgres, fresh_tenant_id)


@pytest.fixture
def run(studio: Studio, short_directory: Path) -> RunDirectory:
    return make_tenant_directory(short_directory, studio.tenant_id)


@pytest.fixture
def recorder_settings() -> dict[str, object]:
    return {"energy_wait_seconds": 0.1}


@pytest.fixture
def recorder(
    postgres: Postgres, run: RunDirectory, recorder_settings: dict[str, object]
) -> Generator[Process]:
    process = recorder_process(postgres, run.path, **recorder_settings)
    process.start()
    yield process
    process.end()


@pytest.fixture
async def session(recorder: Process, run: RunDirectory, studio: Studio) -> AsyncGenerator[Session]:
    await until_served(run.recorder_socket(studio.tenant_id))
    session = new_session(run, studio)
    yield session
    session.close()


def new_session(run: RunDirectory, studio: Studio) -> Session:
    return Session(run.recorder_socket(studio.tenant_id))
