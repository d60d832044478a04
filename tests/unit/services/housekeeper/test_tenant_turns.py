"""Which errors are one tenant's, and which everybody's."""

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolTimeout
from structlog.testing import capture_logs

from services.housekeeper.tenant_turns import tenant_turn
from tenants.ids import TenantId

ACME = TenantId("acme")


@pytest.mark.parametrize(
    "error", [ValueError("odd"), errors.DeadlockDetected(), errors.QueryCanceled()]
)
def test_an_error_of_one_tenant_is_logged_and_the_sweep_goes_on(error: Exception) -> None:
    with capture_logs() as logs, tenant_turn(ACME, duty="ledger_sealing"):
        raise error

    (told,) = logs
    assert (told["event"], told["duty"]) == ("tenant_failed", "ledger_sealing")
    assert (told["tenant"], told["log_level"]) == ("acme", "error")


@pytest.mark.parametrize(
    "error",
    [
        PoolTimeout("none to lend"),
        psycopg.OperationalError("server closed the connection"),
        errors.AdminShutdown(),
        errors.DiskFull(),
    ],
)
def test_a_database_that_is_away_ends_the_sweep(error: Exception) -> None:
    with pytest.raises(type(error)), tenant_turn(ACME, duty="ledger_sealing"):
        raise error
