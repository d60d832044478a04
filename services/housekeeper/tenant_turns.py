"""A sweep goes from tenant to tenant: what fails for one of them is not the others' loss."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import structlog

from database.pool import UNREACHABLE_ERRORS
from services.housekeeper.duty_tally import FAILED_TENANTS
from tenants.ids import TenantId

log = structlog.get_logger()

# SQLSTATEs by their beginning: the connection is gone, the server is full, it goes or comes.
_AWAY_STATES: Final = ("08", "53", "57P")


@contextmanager
def tenant_turn(tenant_id: TenantId, *, duty: str) -> Generator[None]:
    """Log what fails within and go on; the next sweep tries again.

    A database that is away fails for everybody: that ends the sweep.
    """
    try:
        yield
    except Exception as error:
        if _is_database_away(error):
            raise
        log.exception("tenant_failed", duty=duty, tenant=tenant_id)
        if (failed := FAILED_TENANTS.get()) is not None:
            failed.append(tenant_id)


def _is_database_away(error: Exception) -> bool:
    if not isinstance(error, UNREACHABLE_ERRORS):
        return False
    # A deadlock or a statement that took too long is an OperationalError as well, of one tenant.
    return error.sqlstate is None or error.sqlstate.startswith(_AWAY_STATES)
