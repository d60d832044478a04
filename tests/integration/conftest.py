"""What integration tests stand on: a real embedded PostgreSQL and real brokers.

One PostgreSQL per test process (pytest-xdist), migrated once, ended with the test process. Ask for:

The types are in `tests.integration.fixture_types`.

`postgres`          the server: `.admin_url` (superuser), `.url("atelier_gateway")` for a role.
`connection`        async connection of the administrator in a transaction that is rolled back.
`become`            `await become(connection, "atelier_recorder", tenant_id="acme")` turns the
                    administrator's `connection` into a role *within* its transaction, so that rows
                    made before are seen by it: the way to test a store and roll it back.
                    `await become(connection, None)` goes back.
`role_connection`   `async with role_connection("atelier_gateway", tenant_id="acme") as connection:`
                    a real login of a role, in a transaction that is rolled back. It does not see
                    what `connection` has not committed.
`pools`             `async with pools("atelier_gateway") as pool:` a real pool (commits!). For what
                    needs several connections or a process; make ids of your own with
                    `fresh_tenant_id` and leave the rows behind: tables are append-only.
`fresh_tenant_id`   a tenant id that no other test uses (the row is yours to insert).
`fresh_database`    URL of the administrator for an empty, unmigrated database of this test alone.
`broker`            a running tenant broker: `.socket_path`, `.url` (for Celery), `.child`.
`short_directory`   a new directory whose path is short enough for UNIX sockets.
"""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection, conninfo, sql
from psycopg.rows import TupleRow

from database.migration_runner import migrate
from database.pool import Pool, open_pool
from database.roles import RUN_TIME_ROLES
from database.server import make_database
from services.fleet.broker import start_broker, stop_broker
from services.standalone.embedded_postgres import start_postgres
from tests.integration.fixture_types import (
    PASSWORD,
    Become,
    Broker,
    Pools,
    Postgres,
    RoleConnection,
)


@pytest.fixture(scope="session")
def postgres() -> Generator[Postgres]:
    # `make mutants` lends a migrated database; PostgreSQL is then not started for each mutant.
    lent = os.environ.get("ATELIER_TEST_DATABASE_URL")
    if lent:
        yield Postgres(admin_url=lent)
        return
    directory = Path(tempfile.mkdtemp(prefix="atelier-test-"))
    directory.chmod(0o755)
    server = start_postgres(
        data_directory=directory / "data",
        socket_directory=directory / "socket",
        log_path=directory / "postgres.log",
        admin_password=PASSWORD,
        # The tests ask what is written, never whether it survives a loss of power.
        settings={"fsync": "off"},
    )
    migrate(server.admin_url, role_passwords=dict.fromkeys(RUN_TIME_ROLES, PASSWORD))
    yield Postgres(admin_url=server.admin_url)
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
async def connection(postgres: Postgres) -> AsyncGenerator[AsyncConnection[TupleRow]]:
    async with rolled_back(postgres.admin_url) as connection:
        yield connection


@pytest.fixture
def role_connection(postgres: Postgres) -> RoleConnection:
    @asynccontextmanager
    async def connect(
        role: str, *, tenant_id: str | None = None
    ) -> AsyncGenerator[AsyncConnection[TupleRow]]:
        async with rolled_back(postgres.url(role)) as connection:
            await _set_tenant(connection, tenant_id)
            yield connection

    return connect


@pytest.fixture
def become() -> Become:
    async def change(
        connection: AsyncConnection[TupleRow], role: str | None, *, tenant_id: str | None = None
    ) -> None:
        name = sql.SQL("NONE") if role is None else sql.Identifier(role)
        await connection.execute(sql.SQL("SET LOCAL ROLE {}").format(name))
        await _set_tenant(connection, tenant_id)

    return change


@pytest.fixture
def pools(postgres: Postgres) -> Pools:
    def open_for(role: str) -> AbstractAsyncContextManager[Pool]:
        return open_pool(postgres.url(role), size_max=8)

    return open_for


@pytest.fixture
def fresh_tenant_id() -> str:
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture
def fresh_database(postgres: Postgres) -> Generator[str]:
    name = f"fresh_{secrets.token_hex(6)}"
    make_database(postgres.admin_url, name)
    yield conninfo.make_conninfo(postgres.admin_url, dbname=name)
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def short_directory() -> Generator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="atl-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def broker(short_directory: Path) -> Generator[Broker]:
    socket_path = short_directory / "broker.sock"
    child = start_broker(
        socket_path=socket_path,
        data_directory=short_directory / "broker",
        log_path=short_directory / "broker.log",
        death_signal=signal.SIGTERM,
    )
    yield Broker(socket_path=socket_path, data_directory=short_directory / "broker", child=child)
    stop_broker(child)


@asynccontextmanager
async def rolled_back(url: str) -> AsyncGenerator[AsyncConnection[TupleRow]]:
    connection = await AsyncConnection[TupleRow].connect(url)
    try:
        yield connection
    finally:
        await connection.rollback()
        await connection.close()


async def _set_tenant(connection: AsyncConnection[TupleRow], tenant_id: str | None) -> None:
    await connection.execute("SELECT set_config('atelier.tenant_id', %s, true)", [tenant_id or ""])
