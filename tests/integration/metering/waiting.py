"""Two connections at one moment: wait until one of them waits for the other."""

import asyncio

from psycopg import AsyncConnection


async def until_blocked(observer: AsyncConnection, blocked: AsyncConnection) -> None:
    """Return once a connection waits for a lock that another one holds."""
    async with asyncio.timeout(60):
        while True:
            row = await (
                await observer.execute(
                    "SELECT cardinality(pg_blocking_pids(%s)) > 0", [blocked.info.backend_pid]
                )
            ).fetchone()
            if row == (True,):
                return
            await asyncio.sleep(0.02)
