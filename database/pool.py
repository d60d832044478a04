"""Connections to PostgreSQL: a pool per role, and the two ways to begin a transaction.

```python
async with open_pool(settings.database_url, size_max=16) as pool:
    async with tenant_transaction(pool, "acme") as connection:
        await connection.execute(queries["get_job"], {"job_id": job_id})
```
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from psycopg import AsyncConnection, InterfaceError, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

Connection: TypeAlias = AsyncConnection[TupleRow]
Pool: TypeAlias = AsyncConnectionPool[Connection]

# What a caller meets while PostgreSQL is away, restarts, or lends no connection in time. It may try
# again: nothing was committed, or a request_id tells what was.
UNREACHABLE_ERRORS: Final = (OperationalError, InterfaceError)

# How long a process waits at its start for PostgreSQL before it says that it cannot be reached.
_START_SECONDS = 30.0
# A caller that finds every connection taken waits this long, then fails and may be asked to retry.
_WAIT_SECONDS = 10.0
# The pool gives up on a broken server after this long and begins again at the next demand.
_RECONNECT_SECONDS = 30.0

_SET_TENANT = "SELECT set_config('atelier.tenant_id', %s, true)"


@asynccontextmanager
async def open_pool(
    url: str, *, size_max: int = 8, size_min: int = 1, application_name: str = ""
) -> AsyncGenerator[Pool]:
    """Open a pool and close it at the end; raises `PoolTimeout` when PostgreSQL does not answer.

    A connection is looked at before it is lent, so that the loss of a backend costs one
    reconnection and no failed call. Connections are in autocommit mode: a statement outside of
    `transaction` stands alone and leaves no transaction open.
    """
    pool: Pool = AsyncConnectionPool(
        url,
        connection_class=AsyncConnection[TupleRow],
        kwargs={"autocommit": True, "application_name": application_name or "atelier"},
        min_size=min(size_min, size_max),
        max_size=size_max,
        check=AsyncConnectionPool.check_connection,
        timeout=_WAIT_SECONDS,
        reconnect_timeout=_RECONNECT_SECONDS,
        open=False,
        name=application_name or None,
    )
    async with pool:
        await pool.wait(_START_SECONDS)
        yield pool


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncGenerator[Connection]:
    """One transaction without a tenant: committed at the end, rolled back by an exception."""
    async with pool.connection() as connection, connection.transaction():
        yield connection


@asynccontextmanager
async def tenant_transaction(pool: Pool, tenant_id: str) -> AsyncGenerator[Connection]:
    """One transaction in which row-level security shows the rows of this tenant only.

    The setting ends with the transaction, so a connection never carries a tenant to the next one.
    """
    async with transaction(pool) as connection:
        await connection.execute(_SET_TENANT, [tenant_id])
        yield connection
