"""A database server as an administrator sees it: does it answer, has it our database."""

import psycopg
from psycopg import conninfo, sql

from database.queries import load_queries

_CONNECT_SECONDS = 5

queries = load_queries(__file__)


def answers(url: str) -> bool:
    """Whether the server takes connections now."""
    try:
        psycopg.connect(url, connect_timeout=_CONNECT_SECONDS).close()
    except psycopg.OperationalError:
        return False
    return True


def make_database(admin_url: str, name: str) -> None:
    """Create a database unless it is there."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        if connection.execute(queries["find_database"], [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def url_for(url: str, *, user: str, password: str, database: str = "") -> str:
    """Rewrite a URL for another user, and for another database when one is named."""
    changed: dict[str, str] = {"user": user, "password": password}
    if database:
        changed["dbname"] = database
    return conninfo.make_conninfo(url, **changed)
