"""Probes of the triggers that let a leaving tenant's words go, and nobody else's."""

from collections.abc import Callable, Mapping
from typing import Final

import psycopg
from psycopg import Connection, sql

from tests.mutants.rows import Row, insert, undone

Probe = Callable[[Connection], None]
_TENANT: Final = "tenants"
_BECOMES: Final = {
    "ACTIVE": "UPDATE {} SET state = 'ACTIVE'",
    "SUSPENDED": "UPDATE {} SET state = 'SUSPENDED'",
    "DELETING": "UPDATE {} SET state = 'DELETING'",
    "DELETED": "UPDATE {} SET state = 'DELETED'",
}


def leaving_probe(rows: Mapping[str, Row], table: str, name: str) -> Probe | None:
    """Return the probe of such a trigger; None when it is of another kind."""
    probes: dict[str, Callable[[], Probe]] = {
        "words_only": lambda: _forgets_words_only(rows, table),
        "while_leaving": lambda: _goes_while_leaving_only(rows, table),
        "no_return": lambda: _never_returns(rows),
        "never_emptied": lambda: _refuses_always(table, "TRUNCATE {} CASCADE"),
        "never_changed": lambda: _refuses_always(table, "UPDATE {} SET percent = 50 WHERE false"),
    }
    return probes[name]() if name in probes else None


def _forgets_words_only(rows: Mapping[str, Row], table: str) -> Probe:
    words = "UPDATE {} SET labels = '{{}}', project = ''"
    figures = "UPDATE {} SET labels = '{{}}', project = '', price_nanos = price_nanos + 1"
    others = "UPDATE {} SET project = 'another'"
    row: Row = {"labels": {"who": "them"}, "project": "theirs", "outcome": "SUCCEEDED"}

    def probe(conn: Connection) -> None:
        assert _refused(conn, rows, table, words, state="SUSPENDED", change=row)
        assert not _refused(conn, rows, table, words, state="DELETING", change=row)
        assert _refused(conn, rows, table, figures, state="DELETING", change=row)
        assert _refused(conn, rows, table, others, state="DELETING", change=row)

    return probe


def _goes_while_leaving_only(rows: Mapping[str, Row], table: str) -> Probe:
    def probe(conn: Connection) -> None:
        assert _refused(conn, rows, table, "DELETE FROM {}", state="SUSPENDED")
        assert not _refused(conn, rows, table, "DELETE FROM {}", state="DELETING")

    return probe


def _never_returns(rows: Mapping[str, Row]) -> Probe:
    allowed = {("SUSPENDED", "DELETING"), ("DELETING", "DELETING"), ("DELETING", "DELETED")}

    def probe(conn: Connection) -> None:
        for state in _BECOMES:
            for wanted in _BECOMES:
                is_served = {state, wanted} <= {"ACTIVE", "SUSPENDED"}
                refused = _refused(conn, rows, _TENANT, _BECOMES[wanted], state=state)
                assert refused != (is_served or (state, wanted) in allowed), (state, wanted)

    return probe


def _refuses_always(table: str, template: str) -> Probe:
    def probe(conn: Connection) -> None:
        assert _is_refused(conn, table, template), template

    return probe


def _refused(
    conn: Connection,
    rows: Mapping[str, Row],
    table: str,
    template: str,
    *,
    state: str,
    change: Row | None = None,
) -> bool:
    """Whether a statement is refused while the row's tenant is in a state."""
    with conn.transaction() as savepoint:
        insert(conn, _TENANT, rows[_TENANT] | {"state": state})
        if table != _TENANT:
            insert(
                conn,
                table,
                rows[table] | {"tenant_id": rows[_TENANT]["tenant_id"]} | (change or {}),
            )
        refused = _is_refused(conn, table, template)
        raise psycopg.Rollback(savepoint)
    return refused


def _is_refused(conn: Connection, table: str, template: str) -> bool:
    statement = sql.SQL(template).format(sql.Identifier(table))  # pyright: ignore[reportArgumentType] - written above
    try:
        with undone(conn):
            conn.execute("SET LOCAL session_replication_role = origin")
            conn.execute(statement)
    except psycopg.errors.RestrictViolation:
        return True
    except psycopg.errors.ForeignKeyViolation:
        # The trigger let it pass; what the row refers to was never there.
        return False
    return False
