"""Every table, view, function, role and right keeps the rules of docs/isolation.md."""

from collections.abc import Generator
from typing import LiteralString

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from tests.integration.database.catalogue import broken_rules, read_rights
from tests.integration.fixture_types import Postgres

# What a role without prompts must not be able to read: the words themselves and what was drawn.
PROMPTS = {"prompt", "negative_prompt"}

MUTATIONS: dict[LiteralString, str] = {
    "ALTER TABLE images NO FORCE ROW LEVEL SECURITY": (
        "table images does not force row-level security"
    ),
    "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY": "table jobs has no row-level security",
    "CREATE TABLE notes (tenant_id text NOT NULL); ALTER TABLE notes OWNER TO atelier_owner": (
        "table notes has no row-level security"
    ),
    "CREATE TABLE notes (n integer); ALTER TABLE notes OWNER TO atelier_owner": (
        "table notes has no tenant_id and rights.toml does not say why"
    ),
    "ALTER TABLE image_progress ALTER tenant_id DROP NOT NULL": (
        "table image_progress has rows without a tenant"
    ),
    "ALTER POLICY gateway_of_tenant ON images TO PUBLIC": (
        "policy images.gateway_of_tenant does not name one role of a process: ['public']"
    ),
    "ALTER POLICY gateway_of_tenant ON images USING (true)": (
        "policy images.gateway_of_tenant shows true, not (tenant_id = current_tenant_id())"
    ),
    "ALTER POLICY gateway_of_tenant ON images WITH CHECK (true)": (
        "policy images.gateway_of_tenant lets rows in by true, "
        "not (tenant_id = current_tenant_id())"
    ),
    "CREATE POLICY recorder_extra ON images TO atelier_recorder USING (state = 'QUEUED')": (
        "policy images.recorder_extra shows (state = 'QUEUED'::text), "
        "not (tenant_id = current_tenant_id())"
    ),
    "CREATE POLICY idle ON images TO atelier_meter_intake USING (true)": (
        "policy images.idle is for a role without a right on the table"
    ),
    "GRANT UPDATE (state) ON tenants TO atelier_gateway": (
        "atelier_gateway has UPDATE on tenants.state, which rights.toml does not say"
    ),
    "GRANT UPDATE ON tenants TO atelier_gateway": (
        "atelier_gateway has UPDATE on tenants, which rights.toml does not say"
    ),
    "ALTER ROLE atelier_gateway BYPASSRLS": ("role atelier_gateway is free of row-level security"),
    "ALTER ROLE atelier_recorder SUPERUSER": "role atelier_recorder is a superuser",
    "ALTER ROLE atelier_owner LOGIN": "role atelier_owner is a login",
    "GRANT atelier_owner TO atelier_fleet": "role atelier_fleet is a member of atelier_owner",
    "CREATE ROLE atelier_helper": (
        "role atelier_helper is in the database or in database/roles.py, and not in both"
    ),
    "GRANT CREATE ON SCHEMA public TO atelier_gateway; ALTER TABLE jobs OWNER TO atelier_gateway": (
        "role atelier_gateway owns relation jobs"
    ),
    "GRANT CREATE ON SCHEMA public TO atelier_gateway": (
        "atelier_gateway may make things in schema public"
    ),
    "CREATE VIEW queue AS SELECT * FROM images": "view queue is not security_invoker",
    "CREATE MATERIALIZED VIEW queue AS SELECT * FROM images": (
        "queue is a materialized view or a foreign table: it has no policies"
    ),
    "ALTER FUNCTION refuse_change() SECURITY DEFINER": (
        "function refuse_change is SECURITY DEFINER"
    ),
    "ALTER FUNCTION refuse_change() RESET search_path": (
        "function refuse_change does not pin its search_path"
    ),
    "ALTER TABLE job_events DROP CONSTRAINT job_events_tenant_id_job_id_fkey,"
    " ADD FOREIGN KEY (job_id) REFERENCES jobs (job_id)": (
        "foreign key job_events_job_id_fkey of job_events does not carry the tenant to jobs"
    ),
    "CREATE UNIQUE INDEX names ON jobs (display_name) WHERE false": (
        "unique index names of jobs tells of other tenants' values"
    ),
    "GRANT SELECT ON images TO atelier_fleet": (
        "atelier_fleet has SELECT on images, which rights.toml does not say"
    ),
    "GRANT SELECT (prompt) ON images TO atelier_housekeeper": (
        "atelier_housekeeper has SELECT on images.prompt, which rights.toml does not say"
    ),
    "GRANT SELECT ON gpus TO PUBLIC": ("PUBLIC has SELECT on gpus, which rights.toml does not say"),
    "REVOKE INSERT ON energy_segments FROM atelier_meter_intake": (
        "atelier_meter_intake lacks INSERT on energy_segments, which rights.toml says"
    ),
}


@pytest.fixture
def admin(postgres: Postgres) -> Generator[Connection[TupleRow]]:
    """What happens here is taken back."""
    with psycopg.connect(postgres.admin_url) as connection:
        yield connection
        connection.rollback()


def test_the_schema_keeps_every_rule(admin: Connection[TupleRow]) -> None:
    assert broken_rules(admin, read_rights()) == []


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_each_way_to_break_a_rule_is_noticed(
    admin: Connection[TupleRow], mutation: LiteralString
) -> None:
    admin.execute(mutation)

    assert MUTATIONS[mutation] in broken_rules(admin, read_rights())


def test_only_gateway_operator_and_recorder_can_read_a_prompt(admin: Connection[TupleRow]) -> None:
    readers = {
        role
        for role, table, right, column in read_rights().grants
        if table == "images" and right == "SELECT" and (not column or column in PROMPTS)
    }

    assert readers == {"atelier_gateway", "atelier_operator", "atelier_recorder"}
