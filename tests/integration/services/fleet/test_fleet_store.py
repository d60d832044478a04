"""What the role atelier_fleet may read and write."""

import psycopg
import pytest
from psycopg import AsyncConnection

from services.fleet.fleet_store import WorkerRow, WorkerState, read_situation, write_workers
from tenants.ids import TenantId
from tenants.tenant_store import NewTenant, insert_tenant
from tests.integration.fixture_types import Become

ACME = TenantId("acme-of-fleet")


def worker(gpu_id: str, state: WorkerState) -> WorkerRow:
    return WorkerRow(
        tenant_id=ACME,
        gpu_id=gpu_id,
        model="mini",
        launcher="process",
        process_id=7,
        state=state,
        restart_count=0,
    )


@pytest.fixture
async def fleet(connection: AsyncConnection, become: Become) -> AsyncConnection:
    await insert_tenant(connection, NewTenant(tenant_id=ACME, display_name="Acme", currency="EUR"))
    await become(connection, "atelier_fleet")
    return connection


async def shown(connection: AsyncConnection) -> list[tuple[str, str]]:
    cursor = await connection.execute(
        b"SELECT gpu_id, state FROM workers WHERE tenant_id = %s ORDER BY gpu_id", [ACME]
    )
    return await cursor.fetchall()


async def test_it_sees_every_active_tenant(fleet: AsyncConnection) -> None:
    situation = await read_situation(fleet, silence_seconds=30.0)

    assert ACME in [tenant.tenant_id for tenant in situation.tenants]


async def test_a_suspended_tenant_is_left_out(fleet: AsyncConnection, become: Become) -> None:
    await become(fleet, None)
    await fleet.execute(b"UPDATE tenants SET state = 'SUSPENDED' WHERE tenant_id = %s", [ACME])
    await become(fleet, "atelier_fleet")

    situation = await read_situation(fleet, silence_seconds=30.0)

    assert ACME not in [tenant.tenant_id for tenant in situation.tenants]


async def test_the_table_shows_the_workers_there_are_and_no_others(
    fleet: AsyncConnection,
) -> None:
    await write_workers(
        fleet, [worker("cpu-0", WorkerState.STARTING), worker("cpu-1", WorkerState.STARTING)]
    )

    await write_workers(fleet, [worker("cpu-0", WorkerState.RUNNING)])

    assert await shown(fleet) == [("cpu-0", "RUNNING")]


async def test_it_cannot_read_a_prompt(fleet: AsyncConnection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await fleet.execute(b"SELECT prompt FROM images")
