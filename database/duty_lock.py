"""Locks for duties that one process at a time may do, whichever of its kind that is.

The lock belongs to the connection: when the process dies or loses PostgreSQL, it is free.
"""

from database.pool import Connection
from database.queries import load_queries

queries = load_queries(__file__)


async def try_lock_duty(connection: Connection, duty: str) -> bool:
    """Take the duty for as long as this connection lives or until it is handed back."""
    row = await (await connection.execute(queries["try_lock"], [duty])).fetchone()
    return row == (True,)


async def unlock_duty(connection: Connection, duty: str) -> None:
    """Hand the duty back."""
    await connection.execute(queries["unlock"], [duty])
