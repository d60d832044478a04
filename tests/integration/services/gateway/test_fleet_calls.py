"""Operators see GPUs and workers, drain them and set their pace; nobody else does."""

import secrets
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from psycopg import AsyncConnection

from atelier.v1 import fleet_service_pb2 as wire
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import ServedGateway, Studio, refusal

pytestmark = pytest.mark.integration


@pytest.fixture
async def administrator(postgres: Postgres) -> AsyncGenerator[AsyncConnection]:
    async with await AsyncConnection.connect(postgres.admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def policies(administrator: AsyncConnection) -> AsyncGenerator[None]:
    """Take back what is set here: a policy of all devices is one of other tests' devices too."""
    yield
    await administrator.execute(b"DELETE FROM power_policies")


@pytest.fixture
async def gpu_id(administrator: AsyncConnection, acme: Studio) -> str:
    """A warm card with the studio's worker on it, as the fleet would write it."""
    gpu_id = f"gpu-{secrets.token_hex(4)}"
    await administrator.execute(
        b"INSERT INTO gpus (gpu_id, display_name, kind, device_uuid, memory_bytes, in_inventory,"
        b" duty_cycle) VALUES (%s, 'NVIDIA H200', 'NVIDIA', 'GPU-5a', 1000, true, 0.75)",
        [gpu_id],
    )
    await administrator.execute(
        b"INSERT INTO gpu_samples (gpu_id, temperature_celsius, clock_megahertz,"
        b" throttle_reasons, sample_time)"
        b" VALUES (%s, 71.5, 1455, '{SW_POWER_CAP}', '2026-01-01 08:00+00')",
        [gpu_id],
    )
    await administrator.execute(
        b"INSERT INTO workers (tenant_id, gpu_id, model, launcher, isolation, process_id, state,"
        b" start_time) VALUES (%s, %s, 'mini', 'process', 'NONE', 7, 'RUNNING', now())",
        [acme.tenant_id, gpu_id],
    )
    await administrator.execute(
        b"INSERT INTO handovers (gpu_id, model, tenant_id, drain_seconds, cold_start_seconds)"
        b" VALUES (%s, 'mini', %s, 1.5, 21.5)",
        [gpu_id, acme.tenant_id],
    )
    return gpu_id


async def gpu_of(gateway: ServedGateway, gpu_id: str) -> wire.Gpu:
    answer = await gateway.operator.fleet.ListGpus(wire.ListGpusRequest(page_size=1000))
    return next(gpu for gpu in answer.gpus if gpu.name == f"gpus/{gpu_id}")


async def test_an_operator_sees_who_is_where_and_what_the_sensors_said(
    gateway: ServedGateway, gpu_id: str, acme: Studio
) -> None:
    gpu = await gpu_of(gateway, gpu_id)

    assert (gpu.display_name, gpu.kind) == ("NVIDIA H200", wire.GPU_KIND_NVIDIA)
    assert (gpu.device_uuid, gpu.memory_bytes, gpu.duty_cycle) == ("GPU-5a", 1000, 0.75)
    assert (gpu.tenant, gpu.model) == (f"tenants/{acme.tenant_id}", "models/mini")
    assert gpu.sample.temperature_celsius == 71.5
    assert not gpu.sample.HasField("power_watts")
    assert gpu.sample.clock_megahertz == 1_455
    assert list(gpu.sample.throttle_reasons) == ["SW_POWER_CAP"]
    assert gpu.sample.sample_time.ToDatetime(tzinfo=UTC) == datetime(2026, 1, 1, 8, tzinfo=UTC)


async def test_a_watch_tells_it_again_and_again(gateway: ServedGateway, gpu_id: str) -> None:
    request = wire.WatchGpusRequest(parent=f"gpus/{gpu_id}")

    names: list[list[str]] = []
    async for answer in gateway.operator.fleet.WatchGpus(request):
        names.append([gpu.name for gpu in answer.gpus])
        if len(names) == 2:
            break

    assert names == [[f"gpus/{gpu_id}"]] * 2


async def test_workers_are_told_with_a_warning_when_nothing_keeps_them_apart(
    gateway: ServedGateway, gpu_id: str, acme: Studio
) -> None:
    answer = await gateway.operator.fleet.ListWorkers(wire.ListWorkersRequest(page_size=1000))

    worker = next(one for one in answer.workers if one.name == f"gpus/{gpu_id}/worker")
    assert (worker.tenant, worker.state) == (
        f"tenants/{acme.tenant_id}",
        wire.WORKER_STATE_RUNNING,
    )
    assert (worker.launcher, worker.isolated, worker.isolation) == ("process", False, "NONE")
    assert (worker.cold_start_seconds, worker.drain_seconds) == (21.5, 1.5)
    assert "NO ISOLATION" in answer.warning
    assert acme.tenant_id in answer.warning


async def test_a_drain_keeps_the_gpu_empty_for_a_time_or_gives_it_out_again(
    gateway: ServedGateway, gpu_id: str, administrator: AsyncConnection
) -> None:
    request = wire.DrainWorkerRequest(
        name=f"gpus/{gpu_id}/worker", keep_empty=Duration(seconds=3600)
    )

    kept = await gateway.operator.fleet.DrainWorker(request)
    request.ClearField("keep_empty")
    given = await gateway.operator.fleet.DrainWorker(request)

    left = kept.keep_empty_until_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)
    assert timedelta(minutes=50) < left < timedelta(minutes=70)
    assert not given.HasField("keep_empty_until_time")
    cursor = await administrator.execute(
        b"SELECT drain_wish_time IS NOT NULL FROM gpus WHERE gpu_id = %s", [gpu_id]
    )
    assert await cursor.fetchone() == (True,)


@pytest.mark.usefixtures("policies")
async def test_a_gpus_own_policy_comes_before_that_of_all(
    gateway: ServedGateway, gpu_id: str
) -> None:
    set_policy = gateway.operator.fleet.SetPowerPolicy

    def policy(name: str, celsius: float) -> wire.SetPowerPolicyRequest:
        return wire.SetPowerPolicyRequest(
            power_policy=wire.PowerPolicy(
                name=name, temperature_celsius_max=celsius, duty_cycle_max=0.8
            )
        )

    await set_policy(policy("gpus/-/powerPolicy", 78))
    of_all = (await gpu_of(gateway, gpu_id)).power_policy
    answer = await set_policy(policy(f"gpus/{gpu_id}/powerPolicy", 65))
    own = (await gpu_of(gateway, gpu_id)).power_policy

    assert (of_all.name, of_all.temperature_celsius_max) == ("gpus/-/powerPolicy", 78)
    assert own == answer
    assert (own.name, own.temperature_celsius_max) == (f"gpus/{gpu_id}/powerPolicy", 65)


@pytest.mark.parametrize(
    ("celsius", "duty_cycle", "field"),
    [
        (99.0, 0.9, "power_policy.temperature_celsius_max"),
        (80.0, 0.0, "power_policy.duty_cycle_max"),
        (80.0, 1.5, "power_policy.duty_cycle_max"),
    ],
)
async def test_a_policy_that_no_card_could_keep_is_refused(
    gateway: ServedGateway, celsius: float, duty_cycle: float, field: str
) -> None:
    request = wire.SetPowerPolicyRequest(
        power_policy=wire.PowerPolicy(
            name="gpus/-/powerPolicy",
            temperature_celsius_max=celsius,
            duty_cycle_max=duty_cycle,
        )
    )

    refused = await refusal(gateway.operator.fleet.SetPowerPolicy(request))

    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", [field])


async def test_a_gpu_that_nobody_knows_is_not_found(gateway: ServedGateway) -> None:
    fleet = gateway.operator.fleet

    drained = await refusal(fleet.DrainWorker(wire.DrainWorkerRequest(name="gpus/no/worker")))
    paced = await refusal(
        fleet.SetPowerPolicy(
            wire.SetPowerPolicyRequest(
                power_policy=wire.PowerPolicy(
                    name="gpus/no/powerPolicy", temperature_celsius_max=80, duty_cycle_max=0.9
                )
            )
        )
    )

    assert (drained.code, paced.code) == ("NOT_FOUND", "NOT_FOUND")


async def test_a_studio_sees_no_gpu_and_no_neighbour(gateway: ServedGateway, acme: Studio) -> None:
    for client in (acme.member, acme.admin):
        listed = await refusal(client.fleet.ListGpus(wire.ListGpusRequest()))
        workers = await refusal(client.fleet.ListWorkers(wire.ListWorkersRequest()))

        assert (listed.reason, workers.reason) == ("ROLE_REQUIRED", "ROLE_REQUIRED")
