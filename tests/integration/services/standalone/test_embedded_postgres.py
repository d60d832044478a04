"""The embedded PostgreSQL: made, stopped, killed, started again."""

import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from services.standalone.embedded_postgres import EmbeddedPostgres, start_postgres
from services.standalone.errors import PostgresStartError
from tenants.launchers.child_process import is_running


class Installation:
    """One data directory, and the servers that were started on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[EmbeddedPostgres] = []

    def start(self, settings: dict[str, str] | None = None) -> EmbeddedPostgres:
        server = start_postgres(
            data_directory=self.directory / "data" / "postgres",
            socket_directory=self.directory / "socket",
            log_path=self.directory / "postgres.log",
            admin_password="for-tests-only",
            settings=settings,
        )
        self.started.append(server)
        return server


@pytest.fixture
def installation(short_directory: Path) -> Generator[Installation]:
    short_directory.chmod(0o755)
    installation = Installation(short_directory)
    yield installation
    for server in installation.started:
        server.stop()


def write(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.admin_url) as connection:
        connection.execute(b"CREATE TABLE kept AS SELECT 7 AS n")


def kept(server: EmbeddedPostgres) -> object:
    with psycopg.connect(server.admin_url) as connection:
        return connection.execute(b"SELECT n FROM kept").fetchone()


def test_data_survive_a_restart(installation: Installation) -> None:
    first = installation.start()
    write(first)
    first.stop()

    second = installation.start()

    assert kept(second) == (7,)
    assert not is_running(first.process)


def test_what_was_acknowledged_survives_kill_9(installation: Installation) -> None:
    first = installation.start()
    write(first)
    os.kill(first.process.pid, signal.SIGKILL)

    second = installation.start()

    assert kept(second) == (7,)


def test_a_server_that_outlived_its_starter_is_replaced(installation: Installation) -> None:
    first = installation.start()
    write(first)

    second = installation.start()

    assert kept(second) == (7,)
    assert not is_running(first.process)


def test_stopping_does_not_wait_for_clients(installation: Installation) -> None:
    server = installation.start()

    with psycopg.connect(server.admin_url):
        server.stop()

    assert not is_running(server.process)


def test_it_checks_its_pages_wants_passwords_and_listens_on_no_port(
    installation: Installation,
) -> None:
    server = installation.start()

    with psycopg.connect(server.admin_url) as connection:
        row = connection.execute(
            b"SELECT current_setting('data_checksums'), current_setting('listen_addresses'),"
            b" current_setting('password_encryption')"
        ).fetchone()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.admin_url.replace("for-tests-only", "wrong"))

    assert row == ("on", "", "scram-sha-256")


def test_a_server_that_cannot_start_shows_the_end_of_its_log(installation: Installation) -> None:
    with pytest.raises(PostgresStartError, match="no_such_setting"):
        installation.start(settings={"no_such_setting": "1"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
def test_below_a_folder_that_is_closed_to_the_servers_user_the_data_lie_elsewhere(
    installation: Installation,
) -> None:
    (installation.directory / "data").mkdir(mode=0o700)
    first = installation.start()
    write(first)
    first.stop()

    second = installation.start()

    link = installation.directory / "data" / "postgres"
    assert kept(second) == (7,)
    assert link.is_symlink()
    second.stop()
    shutil.rmtree(link.resolve())


def test_an_interrupted_initdb_is_begun_again(installation: Installation) -> None:
    half_made = installation.directory / "data" / "postgres"
    half_made.mkdir(parents=True)
    (half_made / "base").mkdir()

    server = installation.start()

    write(server)
    assert kept(server) == (7,)
