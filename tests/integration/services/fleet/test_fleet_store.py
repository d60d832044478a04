"""What the role atelier_fleet may read and write."""

from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import AsyncConnection

from services.fleet.fleet_store import (
    Handover,
    Situation,
    WorkerRow,
    WorkerState,
    clear_drain_wish,
    insert_handover,
    mark_cleared,
    read_cold_starts,
    read_now,
    read_situation,
    read_speeds,
    write_workers,
)
from tenants.deletion_store import begin_deletion
from tenants.ids import TenantId
from tenants.tenant_store import NewTenant, insert_tenant
from tests.integration.fixture_types import Become

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ACME = TenantId("acme-of-fleet")


def worker(gpu_id: str, state: WorkerState) -> WorkerRow:
    return WorkerRow(
        tenant_id=ACME,
        gpu_id=gpu_id,
        model="mini",
        launcher="process",
        isolation="NONE",
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
    situation = await situation_of(fleet)

    assert ACME in [tenant.tenant_id for tenant in situation.tenants]


async def test_a_suspended_tenant_without_open_images_is_left_out(
    fleet: AsyncConnection, become: Become
) -> None:
    await become(fleet, None)
    await suspend(fleet)
    await image(fleet, state="SUCCEEDED")
    await become(fleet, "atelier_fleet")

    situation = await situation_of(fleet)

    assert ACME not in [tenant.tenant_id for tenant in situation.tenants]


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING"])
async def test_a_suspended_tenant_keeps_what_it_needs_until_its_images_have_ended(
    fleet: AsyncConnection, become: Become, state: str
) -> None:
    await become(fleet, None)
    await suspend(fleet)
    await image(fleet, state=state)
    await become(fleet, "atelier_fleet")

    situation = await situation_of(fleet)

    assert ACME in [tenant.tenant_id for tenant in situation.tenants]


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


async def test_what_cold_starts_took_is_kept_with_the_newest_last(fleet: AsyncConnection) -> None:
    for seconds in (11.5, 12.5):
        await insert_handover(
            fleet,
            Handover(
                gpu_id="gpu-0",
                model="timed",
                tenant_id=ACME,
                from_tenant_id=None,
                drain_seconds=None,
                cold_start_seconds=seconds,
            ),
        )

    # Both were written in one transaction, so at one time; other tests' lie in the table too.
    timed = [row for row in await read_cold_starts(fleet) if row[0] == "timed"]
    assert sorted(timed) == [("timed", 11.5), ("timed", 12.5)]


async def test_a_drain_wish_is_taken_back_once_and_a_newer_one_stays(
    fleet: AsyncConnection, become: Become
) -> None:
    await become(fleet, None)
    await fleet.execute(
        b"INSERT INTO gpus (gpu_id, drain_wish_time, keep_empty_until)"
        b" VALUES ('gpu-7', now(), now() + interval '1 hour'), ('gpu-8', now(), NULL)"
    )
    await become(fleet, "atelier_fleet")
    wishes = {wish.gpu_id: wish for wish in (await situation_of(fleet)).wishes}

    await clear_drain_wish(fleet, replace(wishes["gpu-7"], drain_wish_time=LONG_AGO))
    await clear_drain_wish(fleet, wishes["gpu-8"])

    left = {wish.gpu_id: wish for wish in (await situation_of(fleet)).wishes}
    assert left["gpu-7"] == wishes["gpu-7"]
    assert left["gpu-7"].keep_empty
    assert "gpu-8" not in left


async def test_the_backlog_speeds_and_ends_can_be_asked_for(fleet: AsyncConnection) -> None:
    situation = await situation_of(fleet)

    assert [row for row in situation.backlog if row.tenant_id == ACME] == []
    assert [row for row in situation.ended if row.tenant_id == ACME] == []
    assert "mini-of-nobody" not in await read_speeds(fleet)
    assert await read_now(fleet) > LONG_AGO


async def situation_of(fleet: AsyncConnection) -> Situation:
    return await read_situation(fleet, silence_seconds=30.0, ended_since=LONG_AGO)


async def suspend(connection: AsyncConnection) -> None:
    await connection.execute(b"UPDATE tenants SET state = 'SUSPENDED' WHERE tenant_id = %s", [ACME])


async def image(connection: AsyncConnection, *, state: str) -> None:
    """An image of 1600 × 1600 pixels and 25 steps."""
    await connection.execute(b"SET LOCAL session_replication_role = replica")
    await connection.execute(
        b"INSERT INTO images (tenant_id, job_id, image_id, image_number, state, tier, model,"
        b" prompt, width, height, num_inference_steps, guidance_scale, seed, max_sequence_length,"
        b" output_format, output_quality, hold_nanos, claim_token, end_time)"
        b" VALUES (%(tenant)s, 'job', 'cat-of-fleet', 1, %(state)s, 'BATCH', 'mini-of-fleet', '',"
        b" 1600, 1600, 25, 1, 1, 77, 'PNG', 90, 0,"
        b" CASE WHEN %(state)s = 'RUNNING' THEN gen_random_uuid() END,"
        b" CASE WHEN %(state)s = 'SUCCEEDED' THEN now() END)",
        {"tenant": ACME, "state": state},
    )
    await connection.execute(b"SET LOCAL session_replication_role = origin")


async def ended_attempt(connection: AsyncConnection, image: str, *, outcome: str) -> None:
    """An attempt that began a step, was claimed ten seconds ago, and drew for four of them."""
    await connection.execute(b"SET LOCAL session_replication_role = replica")
    await connection.execute(
        b"INSERT INTO attempts (tenant_id, image_id, attempt, job_id, session_id, claim_token,"
        b" gpu_id, model, claim_time, outcome, end_time, began_step, gpu_seconds)"
        b" VALUES (%s, %s, 1, 'job', 'session', gen_random_uuid(), 'gpu-0', 'mini-of-fleet',"
        b" now() - interval '10 s', %s, now(), true, 4)",
        [ACME, image, outcome],
    )
    await connection.execute(b"SET LOCAL session_replication_role = origin")


async def test_what_ended_is_told_as_drawn_or_as_burnt(
    fleet: AsyncConnection, become: Become
) -> None:
    await become(fleet, None)
    await ended_attempt(fleet, "cat-of-fleet", outcome="SUCCEEDED")
    await ended_attempt(fleet, "dog-of-fleet", outcome="CANCELLED")
    await ended_attempt(fleet, "owl-of-fleet", outcome="FAILED")
    await become(fleet, "atelier_fleet")

    ended = [row for row in (await situation_of(fleet)).ended if row.tenant_id == ACME]

    # A cancelled one burnt from its claim to its end.
    assert sorted((row.drawn, row.seconds) for row in ended) == [(False, 10.0), (True, 4.0)]


async def test_a_models_speed_is_what_its_newest_pictures_took(
    fleet: AsyncConnection, become: Become
) -> None:
    await become(fleet, None)
    await ended_attempt(fleet, "cat-of-fleet", outcome="SUCCEEDED")
    await image(fleet, state="SUCCEEDED")
    await become(fleet, "atelier_fleet")

    # Four GPU-seconds for 1600 × 1600 × 25 = 0.064 billion pixel-steps.
    assert (await read_speeds(fleet))["mini-of-fleet"] == pytest.approx(62.5)


async def test_a_tenant_that_leaves_is_told_until_nothing_of_it_is_here(
    fleet: AsyncConnection, become: Become
) -> None:
    await become(fleet, "atelier_operator")
    await suspend(fleet)
    await begin_deletion(fleet, ACME)
    await become(fleet, "atelier_fleet")

    before = await situation_of(fleet)
    await mark_cleared(fleet, ACME)
    after = await situation_of(fleet)

    assert ACME in before.leaving
    assert ACME not in after.leaving
    assert ACME not in [tenant.tenant_id for tenant in before.tenants]
