"""How often and how much at once a tenant may call; who is refused is told when to come again."""

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from atelier.async_client import AsyncClient
from atelier.v1 import api_key_service_pb2, model_service_pb2, tenant_service_pb2
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    refusal,
    running_gateway,
)

pytestmark = pytest.mark.integration

MODELS = model_service_pb2.ListModelsRequest()


async def limit(gateway: ServedGateway, studio: Studio, **quotas: Any) -> tenant_service_pb2.Tenant:
    return await gateway.operator.tenants.UpdateTenant(
        tenant_service_pb2.UpdateTenantRequest(
            tenant=tenant_service_pb2.Tenant(
                name=f"tenants/{studio.tenant_id}",
                quotas=tenant_service_pb2.TenantQuotas(**quotas),
            ),
            update_mask=FieldMask(paths=[f"quotas.{name}" for name in quotas]),
        )
    )


async def test_a_tenant_that_calls_too_often_is_told_when_to_come_again(
    gateway: ServedGateway, acme: Studio, zeta: Studio
) -> None:
    limited = await limit(gateway, acme, calls_per_minute_max=6)

    # The second one at the latest: one may come at once, the next after ten seconds.
    refused = await refusal(call_until_refused(acme))
    neighbour = await zeta.member.models.ListModels(MODELS)

    assert limited.quotas.calls_per_minute_max == 6
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    assert refused.quota_subjects == [f"tenants/{acme.tenant_id}"]
    assert refused.retry_seconds is not None
    assert 0 < refused.retry_seconds <= 10
    assert neighbour.models


async def call_until_refused(studio: Studio) -> None:
    for _ in range(10_000):
        await studio.member.models.ListModels(MODELS)


async def test_the_installation_says_how_often_unless_the_operator_does(
    postgres: Postgres, short_directory: Path
) -> None:
    async with running_gateway(
        postgres, short_directory, calls_per_minute_per_tenant_max=6
    ) as gateway:
        acme = await gateway.new_tenant(credit_nanos=0)
        refused = await refusal(call_until_refused(acme))
        # Operators are not counted.
        for _ in range(20):
            await gateway.operator.models.ListModels(MODELS)

    assert refused.reason == "RATE_LIMITED"


async def test_the_sdk_waits_as_long_as_it_is_told_and_goes_on(
    gateway: ServedGateway, acme: Studio
) -> None:
    await limit(gateway, acme, calls_per_minute_max=120)

    async with AsyncClient(gateway.address, api_key=acme.member.key) as client:
        # More than the twenty that may come at once.
        answers = [[model async for model in client.list_models()] for _ in range(24)]

    assert all(len(models) == 2 for models in answers)


async def test_a_tenants_own_limit_of_calls_in_flight_counts(
    gateway: ServedGateway, acme: Studio
) -> None:
    key_id = (acme.member.key or "").split("_")[2]
    revoke = api_key_service_pb2.RevokeApiKeyRequest(name=f"tenants/-/apiKeys/{key_id}")

    async with await psycopg.AsyncConnection.connect(gateway.admin_url) as connection:
        # A call in flight for as long as somebody else holds the key's row.
        await connection.execute("SELECT FROM api_keys WHERE key_id = %s FOR UPDATE", [key_id])
        held = asyncio.ensure_future(acme.admin.api_keys.RevokeApiKey(revoke))
        async with asyncio.timeout(60):
            while await gateway.rows("SELECT FROM pg_locks WHERE NOT granted") == []:
                await asyncio.sleep(0.02)
            await limit(gateway, acme, calls_in_flight_max=1)
            refused = await refusal(call_until_refused(acme))
        await connection.rollback()
    await held

    assert (refused.reason, refused.quota_subjects) == (
        "RATE_LIMITED",
        [f"tenants/{acme.tenant_id}"],
    )


async def test_a_full_queue_is_told_with_the_time_to_come_again(
    gateway: ServedGateway, acme: Studio
) -> None:
    await limit(gateway, acme, queued_images_max=1)
    await acme.member.jobs.CreateJob(create_job())

    refused = await refusal(acme.member.jobs.CreateJob(create_job()))

    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert refused.retry_seconds == 30


async def test_a_limit_is_taken_back_by_naming_it_without_a_value(
    gateway: ServedGateway, acme: Studio
) -> None:
    await limit(gateway, acme, calls_per_minute_max=6, calls_in_flight_max=1)

    back = await limit(gateway, acme, calls_per_minute_max=0, calls_in_flight_max=0)

    assert (back.quotas.calls_per_minute_max, back.quotas.calls_in_flight_max) == (0, 0)
