"""What `atelier admin doctor` is told; each part is broken for real and must be found."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import psycopg
import pytest

import atelier
from atelier.errors import RoleRequiredError
from atelier.v1.api_key_service_pb2 import KeyRole
from atelier.v1.installation_service_pb2 import Finding, FindingState
from tests.integration.fixture_types import Pools, Postgres
from tests.integration.services.gateway.drawing import recorder_for_gateways
from tests.integration.services.gateway.gateway_fixtures import ServedGateway, Studio

pytestmark = pytest.mark.integration

OK = FindingState.FINDING_STATE_OK
WARNING = FindingState.FINDING_STATE_WARNING
FAILED = FindingState.FINDING_STATE_FAILED
DEVICE = "card-of-this-test"


@pytest.fixture
async def operator(gateway: ServedGateway) -> AsyncGenerator[atelier.AsyncClient]:
    async with atelier.AsyncClient(gateway.address, api_key=gateway.operator.key) as client:
        yield client


@pytest.fixture
def admin(postgres: Postgres) -> Generator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        yield connection


async def look(operator: atelier.AsyncClient) -> dict[str, Finding]:
    return {finding.check: finding async for finding in operator.verify_installation()}


async def test_a_key_learns_whose_it_is_and_when_it_is_there(
    gateway: ServedGateway, acme: Studio
) -> None:
    async with atelier.AsyncClient(gateway.address, api_key=acme.member.key) as client:
        installation = await client.get_installation()

    assert installation.tenant == f"tenants/{acme.tenant_id}"
    assert installation.api_key.startswith(f"tenants/{acme.tenant_id}/apiKeys/")
    assert installation.role == KeyRole.KEY_ROLE_MEMBER
    assert installation.contract_sha256
    assert not installation.suspended


async def test_a_tenant_is_told_nothing_of_the_installation(
    gateway: ServedGateway, acme: Studio
) -> None:
    async with atelier.AsyncClient(gateway.address, api_key=acme.admin.key) as client:
        with pytest.raises(RoleRequiredError):
            await look(client)


async def test_what_does_not_run_is_found(operator: atelier.AsyncClient, acme: Studio) -> None:
    found = await look(operator)

    assert found["database"].state == OK
    assert found["schema"].state == OK
    assert found["server clock"].state == OK
    for process in ("recorder", "fleet", "housekeeper", "recorder's socket", "brokers"):
        assert found[process].state == FAILED, process
        assert found[process].advice
    assert found["model test-model"].state == WARNING


async def test_a_recorder_that_serves_and_a_store_that_takes_pictures(
    operator: atelier.AsyncClient, pools: Pools, short_directory: Path
) -> None:
    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory),
    ):
        found = await look(operator)

    assert found["recorder"].state == OK
    assert found["recorder's socket"].state == OK
    assert found["picture store"].state == OK
    assert list((short_directory / "objects").rglob("*-probe/*")) == []


async def test_a_store_that_takes_nothing(
    operator: atelier.AsyncClient, pools: Pools, short_directory: Path
) -> None:
    (short_directory / "objects").rmdir()
    (short_directory / "objects").write_text("a file where a folder should be")

    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory),
    ):
        found = await look(operator)

    assert found["picture store"].state == FAILED
    assert found["pictures' disk"].state == FAILED


async def test_a_newer_and_an_older_and_a_changed_schema(
    operator: atelier.AsyncClient, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    admin.execute("INSERT INTO applied_migrations VALUES (9999, 'later', 'x')")
    newer = (await look(operator))["schema"]
    admin.execute("DELETE FROM applied_migrations WHERE number = 9999")
    [(sha256,)] = admin.execute("SELECT sha256 FROM applied_migrations WHERE number = 5").fetchall()
    admin.execute("UPDATE applied_migrations SET sha256 = 'x' WHERE number = 5")
    changed = (await look(operator))["schema"]
    admin.execute("DELETE FROM applied_migrations WHERE number = 5")
    older = (await look(operator))["schema"]
    admin.execute("INSERT INTO applied_migrations VALUES (5, 'again', %s)", [sha256])

    assert [newer.state, changed.state, older.state] == [FAILED] * 3
    assert "the database has migration 9999" in newer.message
    assert older.message == "migration 0005 is not applied"
    assert (await look(operator))["schema"].state == OK


async def test_a_meter_that_fell_silent_and_a_card_that_holds_back(
    operator: atelier.AsyncClient, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    admin.execute(
        "INSERT INTO gpus (gpu_id, display_name, kind, in_inventory)"
        " VALUES (%s, 'Card', 'NVIDIA', true)",
        [DEVICE],
    )
    admin.execute(
        "INSERT INTO energy_readings"
        " SELECT %s, 1, date_trunc('hour', at, 'UTC'), 0, at, 5, at, 1, 'NVML_COUNTER'"
        " FROM (SELECT now() - interval '1 hour' AS at) AS moment",
        [DEVICE],
    )
    admin.execute(
        "INSERT INTO gpu_samples (gpu_id, throttle_reasons, sample_time)"
        " VALUES (%s, '{SW_THERMAL_SLOWDOWN}', now())",
        [DEVICE],
    )

    silent = await look(operator)
    admin.execute("UPDATE energy_readings SET last_read_time = now() WHERE gpu_id = %s", [DEVICE])
    counted = await look(operator)
    admin.execute("DELETE FROM energy_readings WHERE gpu_id = %s", [DEVICE])
    admin.execute("DELETE FROM gpu_samples WHERE gpu_id = %s", [DEVICE])
    admin.execute("DELETE FROM gpus WHERE gpu_id = %s", [DEVICE])

    assert silent[f"energy of {DEVICE}"].state == FAILED
    assert counted[f"energy of {DEVICE}"].state == OK
    assert counted[f"heat of {DEVICE}"].message == "Card holds back: SW_THERMAL_SLOWDOWN"
