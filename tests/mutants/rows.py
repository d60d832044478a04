"""Rows for any table, found by trial: one that every constraint takes, and ones that one refuses.

A table says by its constraints what it takes. Values are tried from small pools until it does, so
a new table or constraint needs nothing written here.
"""

import itertools
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import psycopg
from psycopg import Connection, sql
from psycopg.types.json import Jsonb

Row = dict[str, Any]

_TEXTS: Final = ["aaaa", "bbbb", "EUR", "2026-11", "2026-12", "0" * 64, "", "!", "operator"]
_POOLS: Final[Mapping[str, Sequence[Any]]] = {
    "text": _TEXTS,
    "int2": [50, 1, 0, -1, 10**4],
    "int4": [1, 16, 2, 0, 50, 80, -1, 10**6],
    "int8": [1, 2, 0, 5, -1, 10**15],
    "numeric": [1, 0, -1, 10**20],
    "float8": [1.0, 0.0, 2.0, 60.0, -1.0],
    "float4": [1.0, 0.0, 2.0, 60.0, -1.0],
    "bool": [False, True],
    "bytea": [r"\x" + "00" * 32, r"\x00"],
    "timestamptz": ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-10-01T00:30:00Z"],
    "uuid": ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"],
    "jsonb": [{}, []],
    "date": ["2026-11-01", "2026-11-02"],
    "_text": ["{}"],
    "_cidr": ["{}"],
}
# What no pool can guess: a text and its own hash, and eight numbers of which one is the sum.
_HINTS: Final[Mapping[str, Any]] = {
    "document": "{}",
    "document_sha256": r"\x" + sha256(b"{}").hexdigest(),
    "running_count": 0,
    "quarantined_count": 0,
    "succeeded_count": 0,
    "failed_count": 0,
    "blocked_count": 0,
    "cancelled_count": 0,
}
# A job's counters are bound to their sum: what is wrong in one must be made good in another.
_REFUSED: Final[Mapping[str, Row]] = {
    "jobs_image_count_check": {"image_count": 0, "queued_count": 0},
    "jobs_queued_count_check": {"queued_count": -1, "running_count": 2},
    **{
        f"jobs_{name}_count_check": {f"{name}_count": -1, "queued_count": 2}
        for name in ("running", "quarantined", "succeeded", "failed", "blocked", "cancelled")
    },
}
_TRIALS_MAX: Final = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table; ``values`` are worth trying, likely ones first."""

    name: str
    values: tuple[Any, ...]
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table by its columns and what its CHECKs say of them."""

    name: str
    columns: Mapping[str, Column]
    # For each CHECK the columns it speaks of.
    checks: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def read_tables(conn: Connection) -> dict[str, Table]:
    """Read all tables of the schema, without the history of migrations."""
    checks: dict[str, dict[str, tuple[str, ...]]] = {}
    literals: dict[tuple[str, str], list[str]] = {}
    for table, name, definition, columns in conn.execute(_CHECKS).fetchall():
        checks.setdefault(table, {})[name] = tuple(columns or ())
        for column in columns or ():
            found = re.findall(r"'([^']*)'::text", definition)
            literals.setdefault((table, column), []).extend(found)
    tables: dict[str, dict[str, Column]] = {}
    for table, name, type_name, required in conn.execute(_COLUMNS).fetchall():
        said = literals.get((table, name), []) if type_name == "text" else []
        pool = [*said, *_POOLS[type_name]]
        if name in _HINTS:
            pool.insert(0, _HINTS[name])
        values = tuple(pool) if required else (None, *pool)
        tables.setdefault(table, {})[name] = Column(name=name, values=values, required=required)
    return {
        name: Table(name=name, columns=columns, checks=checks.get(name, {}))
        for name, columns in tables.items()
    }


def valid_row(conn: Connection, table: Table) -> Row:
    """Find a row that all of a table's CHECKs take."""
    row: Row = {name: column.values[0] for name, column in table.columns.items()}
    for _ in range(2 * len(table.checks)):
        violated = violated_check(conn, table, row)
        if violated is None:
            return row
        row = _mended(conn, table, row, violated)
    assert violated_check(conn, table, row) is None, f"no row for {table.name}: {row}"
    return row


def refused_row(conn: Connection, table: Table, check: str, base: Row) -> Row:
    """Find a row that the one CHECK refuses, and no other before it."""
    if check in _REFUSED and violated_check(conn, table, base | _REFUSED[check]) == check:
        return base | _REFUSED[check]
    for columns in (table.checks[check], _neighbours(table, check)):
        for row in _variants(table, base, columns):
            if violated_check(conn, table, row) == check:
                return row
    raise AssertionError(f"nothing was found that {table.name}.{check} refuses")


def violated_check(conn: Connection, table: Table, row: Row) -> str | None:
    """Insert a row and take it back; the CHECK that refused it, if one did."""
    try:
        with undone(conn):
            insert(conn, table.name, row)
    except psycopg.errors.CheckViolation as error:
        return error.diag.constraint_name
    except (psycopg.errors.NotNullViolation, psycopg.errors.DataError):
        # Another wall was hit first.
        return ""
    return None


def insert(conn: Connection, table: str, row: Row) -> None:
    """Insert a row behind foreign keys and triggers; the caller is in replica mode."""
    statement = sql.SQL(
        "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE"
        " SELECT {columns} FROM jsonb_populate_record(NULL::{table}, {row})"
    ).format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, row)),
        row=Jsonb(row),
    )
    conn.execute(statement)


@contextmanager
def undone(conn: Connection) -> Generator[None]:
    """What happens inside is taken back, whether it goes well or not."""
    with conn.transaction() as savepoint:
        yield
        raise psycopg.Rollback(savepoint)


def _mended(conn: Connection, table: Table, row: Row, violated: str) -> Row:
    """Change what the violated CHECK speaks of until all are content, or at least this one."""
    content: Row | None = None
    for variant in _variants(table, row, table.checks[violated]):
        now_violated = violated_check(conn, table, variant)
        if now_violated is None:
            return variant
        if content is None and now_violated not in {violated, ""}:
            content = variant
    assert content is not None, f"{table.name}.{violated} takes nothing that was tried"
    return content


def _neighbours(table: Table, check: str) -> tuple[str, ...]:
    """What a CHECK speaks of, and what other CHECKs speak of in the same breath."""
    own = table.checks[check]
    others = [columns for columns in table.checks.values() if set(columns) & set(own)]
    return tuple(dict.fromkeys([*own, *itertools.chain(*others)]))


def _variants(table: Table, row: Row, columns: Sequence[str]) -> Iterator[Row]:
    pools = [table.columns[column].values for column in columns]
    for values in itertools.islice(itertools.product(*pools), _TRIALS_MAX):
        yield row | dict(zip(columns, values, strict=True))


_COLUMNS: Final = """
    SELECT relation.relname, attribute.attname, type.typname, attribute.attnotnull
    FROM pg_attribute AS attribute
    JOIN pg_class AS relation ON relation.oid = attribute.attrelid
    JOIN pg_type AS type ON type.oid = attribute.atttypid
    WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'p')
        AND relation.relname <> 'applied_migrations' AND NOT relation.relispartition
        AND attribute.attnum > 0 AND NOT attribute.attisdropped AND attribute.attgenerated = ''
    ORDER BY relation.relname, attribute.attnum
"""
_CHECKS: Final = """
    SELECT relation.relname, constr.conname, pg_get_constraintdef(constr.oid),
        (SELECT array_agg(attribute.attname ORDER BY attribute.attnum)
         FROM pg_attribute AS attribute
         WHERE attribute.attrelid = constr.conrelid AND attribute.attnum = ANY (constr.conkey))
    FROM pg_constraint AS constr
    JOIN pg_class AS relation ON relation.oid = constr.conrelid
    WHERE constr.contype = 'c' AND relation.relnamespace = 'public'::regnamespace
        AND NOT relation.relispartition
    ORDER BY relation.relname, constr.conname
"""
