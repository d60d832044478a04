"""Connections go from tenant to tenant and carry nothing along: no row, no setting."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import psycopg
import pytest

from database.pool import Connection, Pool, open_pool, tenant_transaction, transaction
from tests.integration.fixture_types import Postgres

_CONNECTIONS: Final = 6
# More than connections, so that every one goes at once from one tenant to the next.
_CALLERS: Final = 24
_TENANTS: Final = 9
_CANCELLED_SHARE: Final = 0.25
# Some cancels come before a connection is lent, some in the middle of a statement.
_CANCEL_AFTER_SECONDS_MAX: Final = 0.006

_VISIBLE: Final = b"SELECT DISTINCT tenant_id FROM requests"
_ADD: Final = (
    b"INSERT INTO requests (tenant_id, request_id, method, body_sha256)"
    b" VALUES (%s, %s, 'CreateJob', sha256(''))"
)


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Many callers on one pool; ``wrong`` is what no caller may ever see."""

    pool: Pool
    tenants: list[str]
    random: random.Random
    left: int
    ends: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])

    async def run(self) -> None:
        async with asyncio.TaskGroup() as callers:
            for _ in range(_CALLERS):
                callers.create_task(self._call_until_none_is_left())

    async def _call_until_none_is_left(self) -> None:
        while self.left > 0:
            self.left -= 1
            tenant = self.random.choice(self.tenants)
            turn = self.random.choice(
                [self._read, self._write, self._intrude, self._fail, self._ask]
            )
            task = asyncio.ensure_future(turn(tenant))
            if self.random.random() < _CANCELLED_SHARE:
                await asyncio.sleep(self.random.random() * _CANCEL_AFTER_SECONDS_MAX)
                task.cancel()
            await asyncio.wait({task})
            self.ends["cancelled" if task.cancelled() else task.result()] += 1

    async def _read(self, tenant: str) -> str:
        async with tenant_transaction(self.pool, tenant) as connection:
            await self._look(connection, [tenant])
            await connection.execute(b"SELECT pg_sleep(0.001)")
            await self._look(connection, [tenant])
        return "read"

    async def _write(self, tenant: str) -> str:
        async with tenant_transaction(self.pool, tenant) as connection:
            await connection.execute(_ADD, [tenant, uuid4()])
            await self._look(connection, [tenant])
        return "written"

    async def _intrude(self, tenant: str) -> str:
        """Write a row of the next tenant: row-level security refuses it."""
        other = self.tenants[self.tenants.index(tenant) - 1]
        with suppress(psycopg.errors.InsufficientPrivilege):
            async with tenant_transaction(self.pool, tenant) as connection:
                await connection.execute(_ADD, [other, uuid4()])
            self.wrong.append(f"{tenant} wrote a row of {other}")
        return "refused"

    async def _fail(self, tenant: str) -> str:
        with suppress(psycopg.errors.DivisionByZero):
            async with tenant_transaction(self.pool, tenant) as connection:
                await connection.execute(b"SELECT 1 / 0")
        return "failed"

    async def _ask(self, tenant: str) -> str:
        """Name no tenant: no row and no trace of who had the connection before."""
        async with transaction(self.pool) as connection:
            await self._look(connection, [])
            row = await _one(connection, b"SELECT current_tenant_id(), current_key_id()")
            if row != (None, None):
                self.wrong.append(f"a transaction without a tenant began with {row}")
        return "asked without a tenant"

    async def _look(self, connection: Connection, expected: list[str]) -> None:
        seen = [row[0] for row in await (await connection.execute(_VISIBLE)).fetchall()]
        if seen != expected:
            self.wrong.append(f"{seen} were seen, {expected} expected")


async def _one(connection: Connection, query: bytes) -> tuple[object, ...] | None:
    return await (await connection.execute(query)).fetchone()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [800, pytest.param(100_000, marks=pytest.mark.long)])
async def test_interleaved_and_cancelled_transactions_never_see_another_tenants_row(
    postgres: Postgres, fresh_tenant_id: str, count: int
) -> None:
    tenants = [f"{fresh_tenant_id}-{number}" for number in range(_TENANTS)]
    async with open_pool(postgres.url("atelier_gateway"), size_max=_CONNECTIONS) as pool:
        for tenant in tenants:
            async with tenant_transaction(pool, tenant) as connection:
                await connection.execute(_ADD, [tenant, uuid4()])
        traffic = Traffic(pool=pool, tenants=tenants, random=random.Random(7), left=count)

        await traffic.run()

        await _every_connection_is_clean(pool)
    print(dict(traffic.ends))
    assert traffic.wrong == []
    assert traffic.ends.total() == count
    # The cancels did interrupt what ran, and did not interrupt everything.
    assert traffic.ends["cancelled"] > count // 100
    assert min(traffic.ends[end] for end in ("read", "written", "refused", "failed")) > count // 20


async def _every_connection_is_clean(pool: Pool) -> None:
    """Hold all connections of the pool at once, so that each is looked at."""
    together = asyncio.Barrier(_CONNECTIONS)

    async def look() -> tuple[object, ...] | None:
        async with transaction(pool) as connection:
            await together.wait()
            return await _one(connection, b"SELECT current_tenant_id(), count(*) FROM requests")

    answers = await asyncio.gather(*(look() for _ in range(_CONNECTIONS)))
    assert answers == [(None, 0)] * _CONNECTIONS
