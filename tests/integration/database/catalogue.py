"""The rules that keep tenants apart in PostgreSQL, each read off the catalogue of a real database.

`broken_rules` says in sentences what breaks one. What a role may do is data: database/rights.toml.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString

from psycopg import Connection

from database.roles import RUN_TIME_ROLES

RIGHTS_PATH: Final = Path(__file__).parents[3] / "database" / "rights.toml"
_PREFIX: Final = "atelier_"
_OF_TENANT: Final = "(tenant_id = current_tenant_id())"
_RIGHT: Final = re.compile(r"([A-Z]+)(?:\(([^)]*)\))?")

# Nobody may run code with another's rights. A name here needs a reason beside it.
SECURITY_DEFINER_FUNCTIONS: Final[frozenset[str]] = frozenset()

# Unique checks look behind row-level security. An index without the tenant is harmless where nobody
# but us chooses the value, for then nobody learns from a refusal that another tenant has it.
IDS_WE_DRAW: Final = frozenset(
    {
        "claim_token",
        "event_id",
        "image_id",
        "job_id",
        "key_id",
        "lot_id",
        "pending_id",
        "transfer_id",
    }
)
# Chosen by operators alone, who see all tenants anyway.
CHOSEN_BY_OPERATORS: Final = frozenset({"identity_key"})
# The fleet and the meter number what they write here; no tenant can bring a row about.
UNIQUE_BY_GPU: Final = frozenset({"energy_segments", "energy_shares", "handovers", "workers"})
# Both ends are written by the meter in one statement, from what it measured.
FOREIGN_KEYS_WITHOUT_TENANT: Final = frozenset({("energy_shares", "energy_segments")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What database/rights.toml says."""

    scopes: Mapping[str, str]
    extra_policies: Mapping[str, str]
    shared_tables: frozenset[str]
    # (role, table, right, column); the column is empty for a right on the whole table.
    grants: frozenset[tuple[str, str, str, str]]


def read_rights(path: Path = RIGHTS_PATH) -> Rights:
    document = tomllib.loads(path.read_text())
    tables: dict[str, dict[str, str]] = document["tables"]
    return Rights(
        scopes={_PREFIX + role: scope for role, scope in document["scopes"].items()},
        extra_policies=document["extra_policies"],
        shared_tables=frozenset(table for table, said in tables.items() if "shared" in said),
        grants=frozenset(
            (_PREFIX + role, table, right, column)
            for table, said in tables.items()
            for role, text in said.items()
            if role != "shared"
            for right, columns in _RIGHT.findall(text)
            for column in columns.split() or [""]
        ),
    )


def broken_rules(conn: Connection[Any], rights: Rights) -> list[str]:
    """Read the catalogue through an administrator's connection; empty when all is well."""
    return [
        *_roles(conn),
        *_ownership(conn),
        *_row_security(conn, rights),
        *_policies(conn, rights),
        *_relations_without_row_security(conn),
        *_functions(conn),
        *_foreign_keys(conn),
        *_unique_indexes(conn),
        *_grants(conn, rights),
    ]


def _roles(conn: Connection[Any]) -> Iterator[str]:
    expected = {*RUN_TIME_ROLES, "atelier_owner"}
    rows = conn.execute(_ROLES).fetchall()
    for name, powers, member_of in rows:
        for power in powers:
            yield f"role {name} is {power}"
        for other in member_of:
            yield f"role {name} is a member of {other}"
    for name in {row[0] for row in rows} ^ expected:
        yield f"role {name} is in the database or in database/roles.py, and not in both"


def _ownership(conn: Connection[Any]) -> Iterator[str]:
    for owner, thing in conn.execute(_OWNED, [list(RUN_TIME_ROLES)]).fetchall():
        yield f"role {owner} owns {thing}"


def _row_security(conn: Connection[Any], rights: Rights) -> Iterator[str]:
    for table, has_tenant, nullable, enabled, forced in conn.execute(_TABLES).fetchall():
        if not has_tenant:
            if table not in rights.shared_tables:
                yield f"table {table} has no tenant_id and rights.toml does not say why"
            continue
        if table in rights.shared_tables:
            yield f"table {table} has a tenant_id and rights.toml calls it shared"
        # A segment of a time in which nobody's worker was there belongs to no tenant.
        if nullable and table != "energy_segments":
            yield f"table {table} has rows without a tenant"
        if not enabled:
            yield f"table {table} has no row-level security"
        if not forced:
            yield f"table {table} does not force row-level security"


def _policies(conn: Connection[Any], rights: Rights) -> Iterator[str]:
    granted = {(role, table) for role, table, _, _ in rights.grants}
    for table, policy, roles, permissive, qual, check in conn.execute(_POLICIES).fetchall():
        name = f"{table}.{policy}"
        if len(roles) != 1 or roles[0] not in RUN_TIME_ROLES:
            yield f"policy {name} does not name one role of a process: {roles}"
            continue
        if (roles[0], table) not in granted:
            yield f"policy {name} is for a role without a right on the table"
        if not permissive:
            yield f"policy {name} is restrictive: what it does depends on the others"
        expected = rights.extra_policies.get(name) or _scope_condition(rights, roles[0])
        if qual != expected:
            yield f"policy {name} shows {qual}, not {expected}"
        if check is not None and expected not in check:
            yield f"policy {name} lets rows in by {check}, not {expected}"


def _scope_condition(rights: Rights, role: str) -> str:
    return _OF_TENANT if rights.scopes[role] == "tenant" else "true"


def _relations_without_row_security(conn: Connection[Any]) -> Iterator[str]:
    for name, kind, options in conn.execute(_OTHER_RELATIONS).fetchall():
        if kind == "v" and "security_invoker=true" not in options:
            yield f"view {name} is not security_invoker"
        if kind != "v":
            yield f"{name} is a materialized view or a foreign table: it has no policies"


def _functions(conn: Connection[Any]) -> Iterator[str]:
    for name, definer, parsed, settings in conn.execute(_FUNCTIONS).fetchall():
        if definer and name not in SECURITY_DEFINER_FUNCTIONS:
            yield f"function {name} is SECURITY DEFINER"
        # The names in a body that is kept parsed were looked up when it was made.
        if not parsed and "search_path=pg_catalog, public, pg_temp" not in settings:
            yield f"function {name} does not pin its search_path"


def _foreign_keys(conn: Connection[Any]) -> Iterator[str]:
    for name, table, target, columns, target_columns in conn.execute(_FOREIGN_KEYS).fetchall():
        pairs = set(zip(columns, target_columns, strict=True))
        if ("tenant_id", "tenant_id") in pairs or (table, target) in FOREIGN_KEYS_WITHOUT_TENANT:
            continue
        yield f"foreign key {name} of {table} does not carry the tenant to {target}"


def _unique_indexes(conn: Connection[Any]) -> Iterator[str]:
    for name, table, columns in conn.execute(_UNIQUE_INDEXES).fetchall():
        harmless = {"tenant_id"} | IDS_WE_DRAW | CHOSEN_BY_OPERATORS
        if harmless & set(columns) or table in UNIQUE_BY_GPU:
            continue
        yield f"unique index {name} of {table} tells of other tenants' values"


def _grants(conn: Connection[Any], rights: Rights) -> Iterator[str]:
    real = {tuple(row) for row in conn.execute(_GRANTS).fetchall()}
    for grantee, table, right, column in sorted(real - rights.grants):
        yield f"{grantee} has {right} on {_place(table, column)}, which rights.toml does not say"
    for grantee, table, right, column in sorted(rights.grants - real):
        yield f"{grantee} lacks {right} on {_place(table, column)}, which rights.toml says"
    for grantee, place in conn.execute(_GRANTS_TO_MAKE_THINGS, [list(RUN_TIME_ROLES)]).fetchall():
        yield f"{grantee} may make things in {place}"


def _place(table: str, column: str) -> str:
    return f"{table}.{column}" if column else table


_ROLES: Final[LiteralString] = """
    SELECT rolname,
        array_remove(ARRAY[
            CASE WHEN rolsuper THEN 'a superuser' END,
            CASE WHEN rolbypassrls THEN 'free of row-level security' END,
            CASE WHEN rolcreaterole THEN 'a maker of roles' END,
            CASE WHEN rolcreatedb THEN 'a maker of databases' END,
            CASE WHEN rolreplication THEN 'a reader of the log' END,
            CASE WHEN rolcanlogin AND rolname = 'atelier_owner' THEN 'a login' END
        ], NULL),
        ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = pg_roles.oid)
    FROM pg_roles
    WHERE rolname LIKE 'atelier\\_%' AND rolname <> 'atelier_administrator'
    ORDER BY rolname
"""
_OWNED: Final[LiteralString] = """
    SELECT owner::regrole::text, thing
    FROM (
        SELECT relowner AS owner, 'relation ' || oid::regclass::text AS thing FROM pg_class
        UNION ALL SELECT proowner, 'function ' || oid::regproc::text FROM pg_proc
        UNION ALL SELECT nspowner, 'schema ' || nspname FROM pg_namespace
        UNION ALL SELECT datdba, 'database ' || datname FROM pg_database
        UNION ALL SELECT typowner, 'type ' || oid::regtype::text FROM pg_type
    ) AS owned
    WHERE owner::regrole::text = ANY (%s)
    ORDER BY 1, 2
"""
_TABLES: Final[LiteralString] = """
    SELECT relname, attnum IS NOT NULL, attnum IS NOT NULL AND NOT attnotnull, relrowsecurity,
        relforcerowsecurity
    FROM pg_class
    LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'tenant_id'
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    ORDER BY relname
"""
_POLICIES: Final[LiteralString] = """
    SELECT tablename, policyname, roles::text[], permissive = 'PERMISSIVE',
        coalesce(qual, with_check), with_check
    FROM pg_policies
    WHERE schemaname = 'public'
    ORDER BY tablename, policyname
"""
_OTHER_RELATIONS: Final[LiteralString] = """
    SELECT relname, relkind::text, coalesce(reloptions, '{}')
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm', 'f')
    ORDER BY relname
"""
# Without those of extensions, which are the administrator's and written in C.
_FUNCTIONS: Final[LiteralString] = """
    SELECT proname, prosecdef, prosqlbody IS NOT NULL, coalesce(proconfig, '{}')
    FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (
        SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    ORDER BY proname
"""
# Those between two tables that both have tenants.
_FOREIGN_KEYS: Final[LiteralString] = """
    SELECT conname, conrelid::regclass::text, confrelid::regclass::text,
        ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
              JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place),
        ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS key (number, place)
              JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place)
    FROM pg_constraint
    WHERE contype = 'f' AND connamespace = 'public'::regnamespace
        AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = conrelid AND attname = 'tenant_id')
        AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = confrelid AND attname = 'tenant_id')
    ORDER BY conname
"""
_UNIQUE_INDEXES: Final[LiteralString] = """
    SELECT indexrelid::regclass::text, indrelid::regclass::text,
        ARRAY(SELECT attname::text FROM pg_attribute
              WHERE attrelid = indrelid AND attnum = ANY (indkey::smallint[]))
    FROM pg_index
    JOIN pg_class ON pg_class.oid = indrelid
    WHERE (indisunique OR indisexclusion) AND relnamespace = 'public'::regnamespace
        AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = indrelid AND attname = 'tenant_id')
    ORDER BY 1
"""
_GRANTS: Final[LiteralString] = """
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, relname::text, held,
        column_name
    FROM (
        SELECT relname, relowner, '' AS column_name, acl.grantee, acl.privilege_type AS held
        FROM pg_class CROSS JOIN aclexplode(relacl) AS acl
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT relname, relowner, attname::text, acl.grantee, acl.privilege_type
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        CROSS JOIN aclexplode(attacl) AS acl
        WHERE relnamespace = 'public'::regnamespace
    ) AS granted
    WHERE grantee <> relowner
"""
_GRANTS_TO_MAKE_THINGS: Final[LiteralString] = """
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, 'schema ' || nspname
    FROM pg_namespace CROSS JOIN aclexplode(nspacl) AS acl
    WHERE privilege_type = 'CREATE' AND (grantee = 0 OR grantee::regrole::text = ANY (%s))
"""
