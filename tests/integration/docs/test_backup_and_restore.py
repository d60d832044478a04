"""docs/backup-and-restore.md, as it is written, from one PostgreSQL into another, empty one."""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from metering.invariants import check_invariants
from services.standalone.embedded_postgres import EmbeddedPostgres, start_postgres
from services.standalone.postgres_binaries import find_postgres_binaries
from tests.architecture.test_document_blocks import documents_module
from tests.integration.fixture_types import Postgres
from tests.integration.installation import open_studio, spec

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).parents[3] / "docs" / "backup-and-restore.md"
TABLES = ("tenants", "jobs", "images", "transfers", "accounts", "job_events", "price_versions")


@pytest.fixture
def empty_server() -> Generator[EmbeddedPostgres]:
    """Another PostgreSQL, with nothing in it."""
    directory = Path(tempfile.mkdtemp(prefix="atelier-empty-"))
    directory.chmod(0o755)
    server = start_postgres(
        data_directory=directory / "data",
        socket_directory=directory / "socket",
        log_path=directory / "postgres.log",
        admin_password=secrets.token_hex(16),
        settings={"fsync": "off"},
    )
    with psycopg.connect(server_of(server.admin_url), autocommit=True) as connection:
        connection.execute("DROP DATABASE atelier")
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What lies beside the database: a picture in the store, one in the spool, a secret."""
    data = tmp_path / "data"
    for name in ("objects/acme/1.png", "spool/2.png", "secrets/key"):
        path = data / name
        path.parent.mkdir(parents=True)
        path.write_bytes(secrets.token_bytes(1000))
    return data


def server_of(url: str) -> str:
    """The same server's own database, as a URL."""
    return url.replace("@/atelier?", "@/postgres?")


def run_document(folder: Path, environment: dict[str, str]) -> None:
    blocks = documents_module().shell_blocks(DOCUMENT)
    commands = "\n".join(block.commands for block in blocks if block.runs)
    programs = (Path(sys.executable).parent, find_postgres_binaries().folder)
    path = ":".join([*map(str, programs), os.environ["PATH"]])
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**os.environ, **environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"


def counts(url: str) -> dict[str, int]:
    """Rows of what must not be lost, as the administrator sees them."""
    found: dict[str, int] = {}
    with psycopg.connect(url) as connection:
        for table in TABLES:
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            row = connection.execute(query).fetchone()
            assert row is not None
            found[table] = int(row[0])
    return found


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_a_backup_restored_as_the_document_says_is_whole(
    postgres: Postgres,
    empty_server: EmbeddedPostgres,
    files: Path,
    fresh_tenant_id: str,
    tmp_path: Path,
) -> None:
    studio = await open_studio(postgres, fresh_tenant_id)
    await studio.accept(spec(), spec())

    run_document(
        tmp_path,
        {
            "ATELIER_DATABASE_ADMIN_URL": postgres.admin_url,
            "DATA": str(files),
            "NEW_ADMIN_URL": empty_server.admin_url,
            "NEW_SERVER_URL": server_of(empty_server.admin_url),
        },
    )

    after = counts(empty_server.admin_url)
    assert after == counts(postgres.admin_url)
    assert after["images"] >= 2
    assert hashes(tmp_path / "restored") == hashes(files)
    role_url = make_conninfo(postgres.url("atelier_gateway"), host=host_of(empty_server.admin_url))
    # The gateway's role logs in with the password it had.
    with psycopg.connect(role_url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("atelier_gateway",)
    assert await violations(empty_server.admin_url) == await violations(postgres.admin_url)


async def violations(url: str) -> dict[str, int]:
    """Sums that do not hold, whoever broke them."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return dict(await check_invariants(connection))


def host_of(url: str) -> str:
    return str(conninfo_to_dict(url)["host"])
