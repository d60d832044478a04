"""Pools against a real server."""

import asyncio
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import PoolTimeout

from database.pool import Pool, open_pool, tenant_transaction, transaction
from tests.integration.fixture_types import Postgres

TENANT = b"SELECT current_setting('atelier.tenant_id', true)"


async def test_a_tenant_is_set_in_its_transaction_and_gone_after_it(postgres: Postgres) -> None:
    async with open_pool(postgres.url("atelier_gateway"), size_max=1) as pool:
        async with tenant_transaction(pool, "acme") as connection:
            inside = await (await connection.execute(TENANT)).fetchone()

        async with transaction(pool) as connection:
            after = await (await connection.execute(TENANT)).fetchone()

    assert inside == ("acme",)
    assert after == ("",)


async def test_a_killed_backend_costs_no_call(postgres: Postgres) -> None:
    async with open_pool(postgres.url("atelier_gateway"), size_max=1) as pool:
        async with transaction(pool) as connection:
            backend = connection.info.backend_pid
        with psycopg.connect(postgres.admin_url) as admin:
            admin.execute(b"SELECT pg_terminate_backend(%s)", [backend])

        async with transaction(pool) as connection:
            row = await (await connection.execute(b"SELECT 1")).fetchone()

    assert row == (1,)


async def test_a_failed_transaction_writes_nothing(postgres: Postgres) -> None:
    async def fail(pool: Pool) -> None:
        async with transaction(pool) as connection:
            await connection.execute(b"CREATE TABLE half_written (n int)")
            await connection.execute(b"SELECT 1 / 0")

    async with open_pool(postgres.admin_url, size_max=1) as pool:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await fail(pool)

        async with transaction(pool) as connection:
            row = await (await connection.execute(b"SELECT to_regclass('half_written')")).fetchone()

    assert row == (None,)


async def test_callers_are_refused_soon_while_postgresql_takes_no_connections_and_served_after_it(
    postgres: Postgres, fresh_database: str
) -> None:
    name = conninfo_to_dict(fresh_database)["dbname"]
    async with open_pool(fresh_database, size_max=2) as pool:
        async with transaction(pool):
            pass
        with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
            allow_connections(admin, str(name), allowed=False)

            refusals = [await refusal(pool) for _ in range(2)]

            allow_connections(admin, str(name), allowed=True)
        row = await served_again(pool)

    assert refusals == ["couldn't get a connection after 1.50 sec"] * 2
    assert row == (1,)


async def test_a_caller_waits_longer_for_a_pool_that_is_only_busy(postgres: Postgres) -> None:
    async with open_pool(postgres.url("atelier_gateway"), size_max=1) as pool:
        async with transaction(pool):
            waiting = asyncio.create_task(answer(pool))
            # Longer than a caller would wait for a server that is away.
            await asyncio.sleep(2.0)
            served_early = waiting.done()

        row = await waiting

    assert not served_early
    assert row == (1,)


async def served_again(pool: Pool) -> tuple[object, ...] | None:
    """Ask as clients do, until there is an answer."""
    while True:
        with suppress(PoolTimeout):
            return await answer(pool)


async def refusal(pool: Pool) -> str:
    with pytest.raises(PoolTimeout) as caught:
        await answer(pool)
    return str(caught.value)


async def answer(pool: Pool) -> tuple[object, ...] | None:
    async with transaction(pool) as connection:
        return await (await connection.execute(b"SELECT 1")).fetchone()


def allow_connections(admin: psycopg.Connection[TupleRow], database: str, *, allowed: bool) -> None:
    """Open or close a database; to its clients a closed one looks like a server that is away."""
    admin.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
            sql.Identifier(database), sql.Literal(allowed)
        )
    )
    if not allowed:
        admin.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database]
        )
