"""The migration runner against a real server."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from psycopg.rows import TupleRow

from database.errors import (
    MigrationChangedError,
    MigrationLockTimeoutError,
    MigrationUnknownError,
)
from database.migration_runner import LOCK_KEY, Migration, migrate
from database.server import url_for

FIRST = Migration(number=1, title="shelves", statements=b"CREATE TABLE shelves (n int);")
SECOND = Migration(
    number=2, title="books", statements=b"CREATE TABLE books (n int); INSERT INTO books VALUES (7);"
)
BROKEN = Migration(number=2, title="books", statements=b"CREATE TABLE books (n int); SELECT 1 / 0;")


def fetch(url: str, query: bytes) -> list[TupleRow]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def test_a_fresh_database_gets_every_file_in_order(fresh_database: str) -> None:
    applied = migrate(fresh_database, role_passwords={}, migrations=[FIRST, SECOND])

    assert [migration.title for migration in applied] == ["shelves", "books"]
    assert fetch(fresh_database, b"SELECT n FROM books") == [(7,)]


def test_a_second_run_applies_only_what_is_new(fresh_database: str) -> None:
    migrate(fresh_database, role_passwords={}, migrations=[FIRST])

    applied = migrate(fresh_database, role_passwords={}, migrations=[FIRST, SECOND])

    assert [migration.number for migration in applied] == [2]


def test_a_changed_file_that_was_applied_is_refused(fresh_database: str) -> None:
    migrate(fresh_database, role_passwords={}, migrations=[FIRST])
    changed = replace(FIRST, statements=b"CREATE TABLE shelves (n bigint);")

    with pytest.raises(MigrationChangedError, match=r"0001_shelves\.sql was changed"):
        migrate(fresh_database, role_passwords={}, migrations=[changed, SECOND])

    assert fetch(fresh_database, b"SELECT to_regclass('books')") == [(None,)]


def test_older_code_does_not_touch_a_newer_database(fresh_database: str) -> None:
    migrate(fresh_database, role_passwords={}, migrations=[FIRST, SECOND])

    with pytest.raises(MigrationUnknownError, match="0002"):
        migrate(fresh_database, role_passwords={}, migrations=[FIRST])


def test_a_file_that_fails_leaves_nothing_of_itself(fresh_database: str) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(fresh_database, role_passwords={}, migrations=[FIRST, BROKEN])

    assert fetch(fresh_database, b"SELECT number FROM applied_migrations") == [(1,)]
    assert fetch(fresh_database, b"SELECT to_regclass('books')") == [(None,)]


def test_two_that_migrate_at_once_apply_each_file_once(fresh_database: str) -> None:
    def run(_: int) -> list[int]:
        applied = migrate(fresh_database, role_passwords={}, migrations=[FIRST, SECOND])
        return [migration.number for migration in applied]

    with ThreadPoolExecutor(4) as threads:
        numbers = list(threads.map(run, range(4)))

    assert sorted(number for applied in numbers for number in applied) == [1, 2]


def test_one_that_waits_too_long_for_the_other_says_so(fresh_database: str) -> None:
    with psycopg.connect(fresh_database) as other:
        other.execute(b"SELECT pg_advisory_lock(%s)", [LOCK_KEY])

        with pytest.raises(MigrationLockTimeoutError):
            migrate(fresh_database, role_passwords={}, migrations=[FIRST], lock_wait_seconds=0.2)


def test_tables_belong_to_the_owner_who_cannot_log_in(fresh_database: str) -> None:
    migrate(fresh_database, role_passwords={}, migrations=[FIRST])

    assert fetch(
        fresh_database,
        b"SELECT tableowner, rolcanlogin FROM pg_tables JOIN pg_roles ON rolname = tableowner"
        b" WHERE tablename = 'shelves'",
    ) == [("atelier_owner", False)]


def test_a_role_with_a_password_may_log_in_and_owns_nothing(fresh_database: str) -> None:
    migrate(fresh_database, role_passwords={"atelier_fleet": "for-tests-only"}, migrations=[FIRST])

    url = url_for(fresh_database, user="atelier_fleet", password="for-tests-only")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        fetch(url, b"SELECT n FROM shelves")
