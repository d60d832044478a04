"""How a token stops to open: its binding, its time, the key that signed it."""

import asyncio
import time
from collections.abc import Iterator
from operator import length_hint
from pathlib import Path
from typing import Any

import pytest

from atelier.async_client import AsyncClient
from atelier.v1 import (
    identity_service_pb2,
    job_service_pb2,
    tenant_service_pb2,
)
from atelier.v1.image_pb2 import ImageSpec
from atelier.v1.job_service_pb2 import JobState
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import (
    create_job,
    read_all,
    refusal,
)
from tests.integration.services.gateway.identity_provider import (
    IdentityProvider,
    new_key,
)
from tests.integration.services.gateway.trusting_gateway import (
    PATIENCE_SECONDS,
    Trusting,
    is_refused_with,
    list_models,
    trusting,
    until,
)

pytestmark = pytest.mark.integration


async def test_a_deleted_binding_ends_calls_and_streams_within_a_second_on_every_replica(
    trusted: Trusting, postgres: Postgres, short_directory: Path
) -> None:
    acme = await trusted.gateway.new_tenant()
    name = await trusted.bind(acme.tenant_id)
    async with trusting(postgres, short_directory, trusted.provider) as replica:
        clients = [trusted.client(), replica.client()]
        job = await clients[0].jobs.CreateJob(create_job())
        watch = clients[1].jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))
        await watch.read()

        await acme.admin.identities.DeleteIdentityBinding(
            identity_service_pb2.DeleteIdentityBindingRequest(name=name)
        )
        await asyncio.sleep(0.9)
        refused = [await refusal(list_models(client)) for client in clients]
        ended = await asyncio.wait_for(refusal(read_all(watch)), timeout=PATIENCE_SECONDS)

    assert [one.reason for one in (*refused, ended)] == ["KEY_INVALID"] * 3


async def test_a_stream_ends_with_the_token_that_opened_it(
    postgres: Postgres, short_directory: Path, provider: IdentityProvider
) -> None:
    async with trusting(postgres, short_directory, provider, leeway_seconds=0) as trusted:
        acme = await trusted.gateway.new_tenant()
        await trusted.bind(acme.tenant_id)
        client = trusted.client(exp=int(time.time()) + 2)
        job = await acme.member.jobs.CreateJob(create_job())
        watch = client.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))

        ended = await asyncio.wait_for(refusal(read_all(watch)), timeout=PATIENCE_SECONDS)

    assert ended.reason == "KEY_INVALID"


async def test_keys_change_while_the_gateway_serves_and_outlast_the_provider(
    postgres: Postgres, short_directory: Path, provider: IdentityProvider
) -> None:
    async with trusting(postgres, short_directory, provider, refresh_seconds=1) as trusted:
        acme = await trusted.gateway.new_tenant()
        await trusted.bind(acme.tenant_id)
        old, new = provider.keys[0], new_key("new")
        by_old, by_new = trusted.client(key=old), trusted.client(key=new)
        await list_models(by_old)

        provider.keys = [old, new]
        await until(lambda: is_refused_with(by_new, "OK"))
        provider.keys = [new]
        await until(lambda: is_refused_with(by_old, "UNAUTHENTICATED"))
        provider.is_down = True
        unknown = trusted.client(key=new_key("newer"))
        await until(lambda: is_refused_with(unknown, "UNAVAILABLE"))
        still = await is_refused_with(by_new, "OK")
        away = await refusal(list_models(unknown))

    assert still
    assert (away.reason, away.message) == (
        "BACKEND_DOWN",
        "the identity provider is not reachable",
    )


async def test_a_provider_within_the_walls_is_not_asked_unless_the_operator_says_so(
    postgres: Postgres, short_directory: Path, provider: IdentityProvider
) -> None:
    async with trusting(postgres, short_directory, provider, private_networks=[]) as trusted:
        refused = await refusal(list_models(trusted.client()))

    assert refused.code == "UNAVAILABLE"
    assert provider.paths_asked == []


async def test_the_sdks_stream_goes_on_with_the_next_token(trusted: Trusting) -> None:
    acme = await trusted.gateway.new_tenant()
    first, _ = [await trusted.bind(acme.tenant_id, subject=name) for name in ("first", "second")]
    subjects = iter(["first", "second"])
    async with AsyncClient(
        trusted.gateway.address, credentials=lambda: trusted.provider.token(sub=next(subjects))
    ) as client:
        job = await client.create_job([ImageSpec(prompt="a mug")])
        news = job.watch()
        await anext(news)

        await acme.admin.identities.DeleteIdentityBinding(
            identity_service_pb2.DeleteIdentityBindingRequest(name=first)
        )
        later = asyncio.ensure_future(read_all(news))
        await until(lambda: is_used_up(subjects, later))
        await client.cancel_job(job.name)
        last = (await asyncio.wait_for(later, timeout=PATIENCE_SECONDS))[-1]

    assert last.job.state == JobState.JOB_STATE_CANCELLED


async def is_used_up(subjects: Iterator[str], reading: asyncio.Future[Any]) -> bool:
    """Tell whether the second token was fetched; that the stream broke would be told here."""
    assert not reading.done(), reading.exception()
    return length_hint(subjects) == 0


async def test_a_token_opens_nothing_once_its_tenant_is_leaving(trusted: Trusting) -> None:
    leaver = await trusted.gateway.new_tenant(credit_nanos=0)
    await trusted.bind(leaver.tenant_id)
    client = trusted.client()
    await list_models(client)
    name, tenants = f"tenants/{leaver.tenant_id}", trusted.gateway.operator.tenants

    await tenants.SuspendTenant(tenant_service_pb2.SuspendTenantRequest(name=name))
    await tenants.DeleteTenant(tenant_service_pb2.DeleteTenantRequest(name=name))

    await until(lambda: is_refused_with(client, "UNAUTHENTICATED"))
