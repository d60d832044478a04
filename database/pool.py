"""Connections to PostgreSQL: a pool per role, and the two ways to begin a transaction.

```python
async with open_pool(settings.database_url, size_max=16) as pool:
    async with tenant_transaction(pool, "acme") as connection:
        await connection.execute(queries["get_job"], {"job_id": job_id})
```
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Final, Protocol, TypeAlias

from psycopg import AsyncConnection, InterfaceError, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

Connection: TypeAlias = AsyncConnection[TupleRow]

# What a caller meets while PostgreSQL is away, restarts, or lends no connection in time. It may try
# again: nothing was committed, or a request_id tells what was.
UNREACHABLE_ERRORS: Final = (OperationalError, InterfaceError)

# How long a process waits at its start for PostgreSQL before it says that it cannot be reached.
_START_SECONDS = 30.0
# A caller that finds every connection taken waits this long, then fails and may be asked to retry.
_WAIT_SECONDS = 10.0
# While PostgreSQL takes no connections a caller waits only this long: it is refused quickly and
# told when to come again. Long enough for a server whose sessions were ended to make a new one.
_OUTAGE_WAIT_SECONDS = 1.5
# The pool gives up on a broken server after this long and begins again at the next demand. Short,
# because its pauses double: after a long outage it would be the last to notice that it is over.
_RECONNECT_SECONDS = 3.0

_READ_ONE_INSTANT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_SET_TENANT = "SELECT set_config('atelier.tenant_id', %s, true)"


class Pool(AsyncConnectionPool[Connection]):
    """Connections to lend; knows a server that is away from one that is busy."""

    _failures_at_last_loan = 0

    async def getconn(self, timeout: float | None = None) -> Connection:
        """Lend a connection.

        Raises:
            PoolTimeout: soon while PostgreSQL takes no connections; after ``timeout``, or the
                pool's own, while all of them are taken.
        """
        patience = self.timeout if timeout is None else timeout
        first_wait = min(patience, _OUTAGE_WAIT_SECONDS)
        try:
            connection = await super().getconn(first_wait)
        except PoolTimeout:
            if self._failures() > self._failures_at_last_loan or patience <= first_wait:
                raise
            connection = await super().getconn(patience - first_wait)
        self._failures_at_last_loan = self._failures()
        return connection

    def _failures(self) -> int:
        return self.get_stats().get("connections_errors", 0)


@asynccontextmanager
async def open_pool(
    url: str, *, size_max: int = 8, size_min: int = 1, application_name: str = ""
) -> AsyncGenerator[Pool]:
    """Open a pool and close it at the end; raises `PoolTimeout` when PostgreSQL does not answer.

    A connection is looked at before it is lent, so that the loss of a backend costs one
    reconnection and no failed call. Connections are in autocommit mode: a statement outside of
    `transaction` stands alone and leaves no transaction open.
    """
    pool = Pool(
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
        await _wait_for_postgresql(pool)
        yield pool


async def _wait_for_postgresql(pool: Pool) -> None:
    """Ask for a connection again and again: PostgreSQL may be starting as well."""
    deadline = monotonic() + _START_SECONDS
    while True:
        try:
            async with pool.connection():
                return
        except PoolTimeout:
            if monotonic() >= deadline:
                raise


class TransactionCompanion(Protocol):
    """Something that goes along with every transaction of the task that carries it."""

    async def before_commit(self, connection: Connection) -> None:
        """Do the last work of the transaction; what it raises undoes all of it."""
        ...

    def after_commit(self) -> None:
        """Learn that the transaction is for good."""
        ...


# Tasks that are begun later inherit it.
COMPANION: ContextVar[TransactionCompanion | None] = ContextVar("companion", default=None)


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncGenerator[Connection]:
    """One transaction without a tenant: committed at the end, rolled back by an exception."""
    companion = COMPANION.get()
    async with _transaction(pool) as connection:
        yield connection
        if companion is not None:
            await companion.before_commit(connection)
    if companion is not None:
        companion.after_commit()


@asynccontextmanager
async def tenant_transaction(pool: Pool, tenant_id: str) -> AsyncGenerator[Connection]:
    """One transaction in which row-level security shows the rows of this tenant only.

    The setting ends with the transaction, so a connection never carries a tenant to the next one.
    """
    async with transaction(pool) as connection:
        await connection.execute(_SET_TENANT, [tenant_id])
        yield connection


@asynccontextmanager
async def tenant_snapshot(pool: Pool, tenant_id: str) -> AsyncGenerator[Connection]:
    """As `tenant_transaction`, but only to read, and every statement sees the same instant."""
    async with _transaction(pool) as connection:
        await connection.execute(_READ_ONE_INSTANT)
        await connection.execute(_SET_TENANT, [tenant_id])
        yield connection


@asynccontextmanager
async def _transaction(pool: Pool) -> AsyncGenerator[Connection]:
    async with pool.connection() as connection, connection.transaction():
        yield connection
