"""Brings a database to the newest schema: numbered SQL files, each once, in a transaction each.

Run by an administrator of the server (a superuser, or who may create roles); the tables belong to
`atelier_owner`, which no process logs in as.
"""

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow

from database.errors import (
    MigrationChangedError,
    MigrationLockTimeoutError,
    MigrationNumberingError,
    MigrationUnknownError,
)
from database.queries import load_queries
from database.roles import let_log_in, make_roles

_FOLDER = Path(__file__).with_name("migrations")
# Where the runner notes what it applied; before the others, every time.
_HISTORY_FILE = "0000_history.sql"
_FILE_NAME = re.compile(r"^(?P<number>\d{4})_(?P<title>[a-z0-9_]+)\.sql$")
# Any number that nobody else locks in this database.
LOCK_KEY = 6_283_185_307
_LOCK_POLL_SECONDS = 0.1

queries = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of `database/migrations/`."""

    number: int
    title: str
    statements: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.statements).hexdigest()


def migrate(
    admin_url: str,
    *,
    role_passwords: Mapping[str, str],
    migrations: Sequence[Migration] | None = None,
    lock_wait_seconds: float = 60.0,
) -> list[Migration]:
    """Apply what is missing, let the named roles log in, and return what was applied.

    Several processes may call it at once; one works, the others wait and then find nothing to do.

    Raises:
        MigrationError: an applied file was changed, the code is older than the database, the files
            are misnumbered, or another process holds the lock for too long.
    """
    known = read_migrations(_FOLDER) if migrations is None else migrations
    with psycopg.connect(admin_url, autocommit=True, application_name="migrate") as connection:
        _lock(connection, wait_seconds=lock_wait_seconds)
        make_roles(connection)
        connection.execute(queries["make_extensions"])
        connection.execute((_FOLDER / _HISTORY_FILE).read_bytes())
        missing = _missing(known, _applied(connection))
        for migration in missing:
            _apply(connection, migration)
        for role, password in role_passwords.items():
            let_log_in(connection, role=role, password=password)
    return missing


def known_migrations() -> list[Migration]:
    """Return the files of this version of Atelier."""
    return read_migrations(_FOLDER)


def read_migrations(folder: Path) -> list[Migration]:
    """Read the folder's files in order; they must count up from 1 without a gap."""
    found = [
        Migration(number=int(match["number"]), title=match["title"], statements=path.read_bytes())
        for path in sorted(folder.glob("*.sql"))
        if path.name != _HISTORY_FILE and (match := _FILE_NAME.match(path.name))
    ]
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationNumberingError(
            f"{folder} must hold 0001_….sql, 0002_….sql, … without a gap or a number twice"
        )
    return found


def _lock(connection: psycopg.Connection[TupleRow], *, wait_seconds: float) -> None:
    """Take the migration lock by asking again and again.

    Waiting inside `pg_advisory_lock` would hold a snapshot that CREATE INDEX CONCURRENTLY of the
    process at work waits for: a deadlock.
    """
    deadline = time.monotonic() + wait_seconds
    while connection.execute(queries["try_lock"], [LOCK_KEY]).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise MigrationLockTimeoutError(
                f"another process has been migrating for {wait_seconds:.0f} s"
            )
        time.sleep(_LOCK_POLL_SECONDS)


def _applied(connection: psycopg.Connection[TupleRow]) -> dict[int, str]:
    return dict(connection.execute(queries["list_applied"]).fetchall())


def _missing(known: Sequence[Migration], applied: Mapping[int, str]) -> list[Migration]:
    if newer := sorted(set(applied) - {migration.number for migration in known}):
        raise MigrationUnknownError(
            f"the database has migration {newer[-1]:04d}, this version of Atelier ends before it"
        )
    for migration in known:
        if applied.get(migration.number, migration.sha256) != migration.sha256:
            raise MigrationChangedError(
                f"{migration.number:04d}_{migration.title}.sql was changed after it was applied; "
                "restore it and put the change into a new file"
            )
    return [migration for migration in known if migration.number not in applied]


def _apply(connection: psycopg.Connection[TupleRow], migration: Migration) -> None:
    with connection.transaction():
        connection.execute(queries["become_owner"])
        connection.execute(migration.statements)
        connection.execute(queries["back_to_administrator"])
        connection.execute(
            queries["note_applied"], [migration.number, migration.title, migration.sha256]
        )
