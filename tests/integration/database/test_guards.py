"""Every CHECK, unique index, trigger and policy of the migrations does what it is there for.

`make mutants` drops each in turn and sees this fail.
"""

import psycopg

from database.migration_runner import migrate
from tests.mutants.guards import DROP_HELPER, read_guards
from tests.mutants.rows import undone


def test_every_guard_of_the_schema_does_what_it_is_there_for(fresh_database: str) -> None:
    # Of its own: the rows that are tried would meet what other tests have left.
    migrate(fresh_database, role_passwords={})
    idle: list[str] = []
    with psycopg.connect(fresh_database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(DROP_HELPER)

        for guard in read_guards(connection):
            try:
                with undone(connection):
                    guard.probe(connection)
            except AssertionError as error:
                # What another index implies is there for foreign keys to point at.
                if not guard.implied:
                    idle.append(f"{guard.text}: {error}")
        connection.rollback()

    assert idle == []
