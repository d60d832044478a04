"""Every guard of the schema with a probe: what it must refuse, hide or do, tried on real tables.

A guard is a CHECK, a unique index, an exclusion, a trigger or a policy. The probes are read off the
catalogue, so that a new guard is probed without anybody thinking of it; a trigger that is of no
known kind fails until somebody has.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

import psycopg
from psycopg import Connection, sql

from tests.mutants.leaving import leaving_probe
from tests.mutants.rows import (
    Row,
    Table,
    insert,
    read_tables,
    refused_row,
    undone,
    valid_row,
    violated_check,
)

OURS, THEIRS = "aaaa", "bbbb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Something that keeps the tables right; the probe raises AssertionError when it does not."""

    kind: str
    table: str
    name: str
    drop: sql.Composed
    probe: Callable[[Connection], None]
    # Another guard already refuses all that this one would; it is there for foreign keys.
    implied: bool = False

    @property
    def text(self) -> str:
        return f"{self.kind} {self.table}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The tables, and for each a row that it takes."""

    tables: Mapping[str, Table]
    rows: Mapping[str, Row]
    uniques: Mapping[str, Sequence[tuple[str, tuple[str, ...], tuple[str, ...]]]]


def read_guards(conn: Connection) -> list[Guard]:
    """Read every guard; the connection is the administrator's, in replica mode."""
    schema = _read_schema(conn)
    return [
        *_checks(conn, schema),
        *_unique_indexes(schema),
        *_triggers(conn, schema),
        *_policies(conn, schema),
    ]


def _read_schema(conn: Connection) -> Schema:
    tables = read_tables(conn)
    uniques: dict[str, list[tuple[str, tuple[str, ...], tuple[str, ...]]]] = {}
    for table, name, columns, predicate_columns in conn.execute(_UNIQUES).fetchall():
        if table in tables:
            uniques.setdefault(table, []).append((name, tuple(columns), tuple(predicate_columns)))
    rows = {name: valid_row(conn, table) for name, table in tables.items()}
    return Schema(tables=tables, rows=rows, uniques=uniques)


def _drop_constraint(table: str, name: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
        sql.Identifier(table), sql.Identifier(name)
    )


# ------------------------------------------------------------------------------ CHECKs


def _checks(conn: Connection, schema: Schema) -> Iterator[Guard]:
    for table in schema.tables.values():
        for name in table.checks:
            row = refused_row(conn, table, name, schema.rows[table.name])
            yield Guard(
                kind="CHECK",
                table=table.name,
                name=name,
                drop=_drop_constraint(table.name, name),
                probe=_refuses(table, name, row),
            )


def _refuses(table: Table, check: str, row: Row) -> Callable[[Connection], None]:
    def probe(conn: Connection) -> None:
        assert violated_check(conn, table, row) == check

    return probe


# ------------------------------------------------------------------------------ unique indexes


def _unique_indexes(schema: Schema) -> Iterator[Guard]:
    for table, uniques in schema.uniques.items():
        for name, columns, predicate_columns in uniques:
            implied = any(
                set(other) < set(columns) and not where
                for other_name, other, where in uniques
                if other_name != name
            )
            yield Guard(
                kind="UNIQUE",
                table=table,
                name=name,
                drop=sql.SQL("SELECT drop_index_or_constraint({}, {})").format(table, name),
                probe=_takes_once(schema, table, name, columns, predicate_columns),
                implied=implied,
            )


def _takes_once(
    schema: Schema, table: str, name: str, columns: Sequence[str], where: Sequence[str]
) -> Callable[[Connection], None]:
    def probe(conn: Connection) -> None:
        for row in _rows_with(schema, table, columns, where):
            second = _second(conn, schema.tables[table], row, same=[*columns, *where])
            if _second_is_refused_by(conn, table, row, second) == name:
                return
        raise AssertionError(f"{table} took the same {columns} twice")

    return probe


def _rows_with(
    schema: Schema, table: str, columns: Sequence[str], where: Sequence[str]
) -> Iterator[Row]:
    """Rows whose columns hold something, with whatever the index's condition may ask for."""
    base, pools = schema.rows[table], schema.tables[table].columns
    something = {
        name: next((value for value in column.values if value is not None), None)
        for name, column in pools.items()
    }
    filled = {name: something[name] if value is None else value for name, value in base.items()}
    emptied = {name: value if pools[name].required else None for name, value in base.items()}
    held = {name: filled[name] for name in columns}
    for values in itertools.product(*(pools[name].values for name in where)):
        for row in (base | held, filled, emptied | held):
            yield row | dict(zip(where, values, strict=True))


def _second(conn: Connection, table: Table, row: Row, *, same: Sequence[str]) -> Row:
    """The row again, with everything else another, as far as the CHECKs let it be."""
    second = dict(row)
    # Twice: what one column may be depends on another, such as a start on its end.
    for name in sorted(set(table.columns) - set(same)) * 2:
        if second[name] == row[name]:
            second = _with_another(conn, table, second, name)
    return second


def _with_another(conn: Connection, table: Table, row: Row, name: str) -> Row:
    for value in table.columns[name].values:
        changed = row | {name: value}
        if value not in (None, row[name]) and violated_check(conn, table, changed) is None:
            return changed
    return row


def _second_is_refused_by(conn: Connection, table: str, row: Row, second: Row) -> str | None:
    try:
        with undone(conn):
            insert(conn, table, row)
            insert(conn, table, second)
    except (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation) as error:
        return error.diag.constraint_name
    except psycopg.Error:
        return None
    return None


# ------------------------------------------------------------------------------ triggers


def _triggers(conn: Connection, schema: Schema) -> Iterator[Guard]:
    for table, name in conn.execute(_TRIGGERS).fetchall():
        yield Guard(
            kind="TRIGGER",
            table=table,
            name=name,
            drop=sql.SQL("DROP TRIGGER {} ON {}").format(
                sql.Identifier(name), sql.Identifier(table)
            ),
            probe=_trigger_probe(schema, table, name),
        )


def _trigger_probe(schema: Schema, table: str, name: str) -> Callable[[Connection], None]:
    if name == "append_only":
        return _only_grows(table)
    if name == "number_without_gap":
        return _leaves_no_gap(schema, table)
    leaving = leaving_probe(schema.rows, table, name)
    if leaving is not None:
        return leaving
    lists = {
        "list_unsealed": "unsealed_transfers",
        "list_uninvoiced": "uninvoiced_usage",
        "list_fresh": "fresh_usage",
    }
    assert name in lists, f"{table}.{name}: write a probe for this kind of trigger"
    return _lists(schema, table, lists[name])


def _only_grows(table: str) -> Callable[[Connection], None]:
    def probe(conn: Connection) -> None:
        for template in ("DELETE FROM {} WHERE false", "TRUNCATE {} CASCADE"):
            statement = sql.SQL(template).format(sql.Identifier(table))
            assert _refused(conn, statement, psycopg.errors.RestrictViolation), template

    return probe


def _leaves_no_gap(schema: Schema, table: str) -> Callable[[Connection], None]:
    (number,) = [name for name in schema.rows[table] if name.endswith("_number")]

    def probe(conn: Connection) -> None:
        assert _refused_insert(conn, table, schema.rows[table] | {number: 2})

    return probe


def _lists(schema: Schema, table: str, listing: str) -> Callable[[Connection], None]:
    """A row that is there with all that it refers to comes to stand on the list."""

    def probe(conn: Connection) -> None:
        with undone(conn):
            for parent in ("tenants", "jobs", "images", "price_versions"):
                insert(conn, parent, schema.rows[parent])
            row = schema.rows[table]
            if table == "transfers":
                for kind in ("WALLET", "REVENUE"):
                    account = {"kind": kind, "currency": "EUR", "guarded": kind == "WALLET"}
                    wallet = {"debits_pending": 0, "debits_posted": 0}
                    insert(conn, "accounts", schema.rows["accounts"] | account | wallet)
                row = row | _SINGLE
            conn.execute("SET LOCAL session_replication_role = origin")
            insert(conn, table, row)
            query = sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = %s")
            listed = conn.execute(query.format(sql.Identifier(listing)), [OURS]).fetchone()
            assert listed == (1,)

    return probe


_SINGLE: Final[Row] = {
    "kind": "SINGLE",
    "debit_account": "WALLET",
    "credit_account": "REVENUE",
    "currency": "EUR",
    "pending_id": None,
    "image_id": None,
}


def _refused(conn: Connection, statement: sql.Composed, error: type[psycopg.Error]) -> bool:
    try:
        with undone(conn):
            conn.execute("SET LOCAL session_replication_role = origin")
            conn.execute("SET LOCAL ROLE atelier_owner")
            conn.execute(statement)
    except error:
        return True
    return False


def _refused_insert(conn: Connection, table: str, row: Row) -> bool:
    try:
        with undone(conn):
            conn.execute("SET LOCAL session_replication_role = origin")
            insert(conn, table, row)
    except psycopg.errors.RestrictViolation:
        return True
    except psycopg.Error:
        return False
    return False


# ------------------------------------------------------------------------------ policies


def _policies(conn: Connection, schema: Schema) -> Iterator[Guard]:
    for table, name, role, using in conn.execute(_POLICIES).fetchall():
        yield Guard(
            kind="POLICY",
            table=table,
            name=name,
            drop=sql.SQL("DROP POLICY {} ON {}").format(
                sql.Identifier(name), sql.Identifier(table)
            ),
            probe=_shows(schema, table, role, using),
        )
        if "current_tenant_id" in using:
            yield Guard(
                kind="POLICY for every tenant",
                table=table,
                name=name,
                drop=sql.SQL("ALTER POLICY {} ON {} USING (true)").format(
                    sql.Identifier(name), sql.Identifier(table)
                ),
                probe=_shows(schema, table, role, using),
            )


def _shows(schema: Schema, table: str, role: str, using: str) -> Callable[[Connection], None]:
    """What a role sees of two tenants' rows: its own, all, or what it knows the key of."""
    ours = schema.rows[table] | {"tenant_id": OURS}
    settings, expected = {"atelier.tenant_id": OURS}, {OURS}
    if table == "pictures":
        # Those that lie in the spool are shown to the recorder, whose ever they are.
        ours = ours | {"store_time": None if "store_time" in using else "2026-11-01T00:00:00Z"}
    if "store_time" in using:
        settings, expected = {}, {OURS, THEIRS}
    elif "current_key_id" in using:
        ours = ours | {"role": "MEMBER", "key_id": "key-of-ours"}
        settings, expected = {"atelier.key_id": "key-of-theirs"}, {THEIRS}
    elif "current_identity_keys" in using:
        settings, expected = {"atelier.identity_keys": f"{'2' * 64},{'1' * 64}"}, {THEIRS}
    elif using == "true":
        settings, expected = {}, {OURS, THEIRS}

    def probe(conn: Connection) -> None:
        row = ours | {"role": "MEMBER"} if table == "api_keys" else ours
        theirs = _theirs(conn, schema, table, row)
        with undone(conn):
            insert(conn, table, row)
            insert(conn, table, theirs)
            if _may_read(conn, table, role):
                assert _seen(conn, table, role, settings) == expected
                return
        # Who may only write is let in with its own rows alone.
        assert _may_insert(conn, table, role, row)
        assert _may_insert(conn, table, role, theirs) == (THEIRS in expected)

    return probe


def _may_read(conn: Connection, table: str, role: str) -> bool:
    query = "SELECT has_any_column_privilege(%s, %s, 'SELECT')"
    return conn.execute(query, [role, table]).fetchone() == (True,)


def _may_insert(conn: Connection, table: str, role: str, row: Row) -> bool:
    try:
        with undone(conn):
            conn.execute("SELECT set_config('atelier.tenant_id', %s, true)", [OURS])
            conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            insert(conn, table, row)
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _theirs(conn: Connection, schema: Schema, table: str, ours: Row) -> Row:
    """The row of another tenant: unlike ours wherever something must be unique."""
    theirs = ours | {"tenant_id": THEIRS}
    if "key_id" in ours and table == "api_keys":
        return theirs | {"key_id": "key-of-theirs"}
    if table == "identity_bindings":
        return theirs | {"identity_key": "1" * 64}
    for _, columns, _ in schema.uniques.get(table, ()):
        if "tenant_id" in columns:
            continue
        for name in columns:
            theirs = _with_another(conn, schema.tables[table], theirs, name)
    return theirs


def _seen(conn: Connection, table: str, role: str, settings: Mapping[str, str]) -> set[str]:
    with conn.transaction() as savepoint:
        for setting, value in settings.items():
            conn.execute("SELECT set_config(%s, %s, true)", [setting, value])
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        query = sql.SQL("SELECT DISTINCT tenant_id FROM {}").format(sql.Identifier(table))
        # What other tests have left is none of these two's.
        seen = {tenant for (tenant,) in conn.execute(query).fetchall()} & {OURS, THEIRS}
        conn.execute("RESET ROLE")
        raise psycopg.Rollback(savepoint)
    return seen


_UNIQUES: Final[LiteralString] = """
    SELECT relation.relname, name.relname,
        (SELECT array_agg(attribute.attname ORDER BY attribute.attnum)
         FROM pg_attribute AS attribute
         WHERE attribute.attrelid = relation.oid AND attribute.attnum > 0
             AND (attribute.attnum = ANY (index.indkey)
                 OR pg_get_expr(index.indexprs, relation.oid)
                     ~ ('\\m' || attribute.attname || '\\M'))),
        (SELECT coalesce(array_agg(attribute.attname), '{}')
         FROM pg_attribute AS attribute
         WHERE attribute.attrelid = relation.oid AND attribute.attnum > 0
             AND pg_get_expr(index.indpred, relation.oid)
                 ~ ('\\m' || attribute.attname || '\\M'))
    FROM pg_index AS index
    JOIN pg_class AS relation ON relation.oid = index.indrelid
    JOIN pg_class AS name ON name.oid = index.indexrelid
    WHERE (index.indisunique OR index.indisexclusion)
        AND relation.relnamespace = 'public'::regnamespace AND NOT relation.relispartition
    ORDER BY relation.relname, name.relname
"""
_TRIGGERS: Final[LiteralString] = """
    SELECT relation.relname, tgname
    FROM pg_trigger
    JOIN pg_class AS relation ON relation.oid = tgrelid
    WHERE NOT tgisinternal AND relation.relnamespace = 'public'::regnamespace
    ORDER BY 1, 2
"""
_POLICIES: Final[LiteralString] = """
    SELECT tablename, policyname, roles[1], coalesce(qual, with_check)
    FROM pg_policies
    WHERE schemaname = 'public'
    ORDER BY 1, 2, 3
"""
DROP_HELPER: Final[LiteralString] = """
    CREATE FUNCTION drop_index_or_constraint(relation text, name text) RETURNS void
        LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM pg_constraint
            WHERE conname = name AND conrelid = relation::regclass)
        THEN
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', relation, name);
        ELSE
            EXECUTE format('DROP INDEX %I', name);
        END IF;
    END
    $$
"""
