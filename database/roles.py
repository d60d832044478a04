"""The roles of the processes: which there are, and how they are made."""

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from database.queries import load_queries

# Those that log in; atelier_owner owns the tables and never does.
RUN_TIME_ROLES = (
    "atelier_gateway",
    "atelier_operator",
    "atelier_recorder",
    "atelier_meter_intake",
    "atelier_fleet",
    "atelier_housekeeper",
)

queries = load_queries(__file__)


def make_roles(connection: psycopg.Connection[TupleRow]) -> None:
    """Make the roles that are missing; none of them can log in until it is given a password."""
    connection.execute(queries["make_roles"])


def let_log_in(connection: psycopg.Connection[TupleRow], *, role: str, password: str) -> None:
    """Give a role its password, as a SCRAM verifier: no log of the server sees the word itself."""
    assert role in RUN_TIME_ROLES, role
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    )
    connection.execute(
        sql.SQL("ALTER ROLE {role} LOGIN PASSWORD {verifier}").format(
            role=sql.Identifier(role), verifier=sql.Literal(verifier.decode())
        )
    )
