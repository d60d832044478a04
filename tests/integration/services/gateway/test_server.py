"""The server itself: health, reflection, bounds, drain, and a database that goes away."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psycopg
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from atelier.v1 import (
    job_service_pb2,
    model_service_pb2,
)
from services.gateway.bootstrap import make_first_operator_key
from services.gateway.serving import serving
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import (
    PEPPER,
    Client,
    ServedGateway,
    Studio,
    create_job,
    gateway_settings,
    read_all,
    read_one,
    refusal,
    running_gateway,
)

pytestmark = pytest.mark.integration

MODELS = model_service_pb2.ListModelsRequest()


async def test_health_is_told_without_a_key(gateway: ServedGateway) -> None:
    stub: Any = health_pb2_grpc.HealthStub(gateway.client(None).channel)

    answers = [
        await stub.Check(health_pb2.HealthCheckRequest(service=name))
        for name in ("", "atelier.v1.JobService")
    ]

    assert {answer.status for answer in answers} == {health_pb2.HealthCheckResponse.SERVING}


async def test_reflection_tells_the_contract(gateway: ServedGateway) -> None:
    channel: Any = gateway.client(None).channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)

    async def questions() -> AsyncGenerator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        yield reflection_pb2.ServerReflectionRequest(file_containing_symbol="atelier.v1.JobService")

    services, file = await read_all(stub.ServerReflectionInfo(questions()))

    names = {service.name for service in services.list_services_response.service}
    described = FileDescriptorProto.FromString(
        file.file_descriptor_response.file_descriptor_proto[0]
    )
    assert {"atelier.v1.JobService", "grpc.health.v1.Health"} <= names
    assert described.name == "atelier/v1/job_service.proto"


async def test_models_are_listed_with_their_limits(acme: Studio) -> None:
    answer = await acme.member.models.ListModels(MODELS)
    one = await acme.member.models.GetModel(
        model_service_pb2.GetModelRequest(name="models/other-model")
    )

    assert [model.name for model in answer.models] == ["models/test-model", "models/other-model"]
    assert [model.default_model for model in answer.models] == [True, False]
    assert answer.models[0].image_pixels_max == 131_072
    assert one == answer.models[1]


async def test_calls_above_the_tenants_limit_are_refused_fast(
    postgres: Postgres, short_directory: Path
) -> None:
    async with running_gateway(postgres, short_directory, streams_per_tenant_max=1) as gateway:
        acme, zeta = await gateway.new_tenant(), await gateway.new_tenant()
        job = await acme.member.jobs.CreateJob(create_job())
        request = job_service_pb2.WatchJobRequest(name=job.name)
        watch = acme.member.jobs.WatchJob(request)
        await watch.read()

        refused = await refusal(acme.member.jobs.WatchJob(request).read())
        other_job = await zeta.member.jobs.CreateJob(create_job())
        other = await read_one(
            zeta.member.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=other_job.name))
        )
        watch.cancel()

    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    assert refused.retry_seconds == 1.0
    assert refused.quota_subjects == [f"tenants/{acme.tenant_id}"]
    assert other.job.name == other_job.name


async def test_a_place_is_free_again_when_a_watcher_went_away(
    postgres: Postgres, short_directory: Path
) -> None:
    async with running_gateway(postgres, short_directory, streams_per_tenant_max=1) as gateway:
        acme = await gateway.new_tenant()
        job = await acme.member.jobs.CreateJob(create_job())
        request = job_service_pb2.WatchJobRequest(name=job.name)

        names: list[str] = []
        for _ in range(5):
            watch = acme.member.jobs.WatchJob(request)
            names.append((await read_one(watch)).job.name)
            watch.cancel()
            await asyncio.sleep(0.1)

    assert names == [job.name] * 5


async def test_a_quiet_stream_shows_that_it_lives(
    postgres: Postgres, short_directory: Path
) -> None:
    async with running_gateway(postgres, short_directory, keep_alive_seconds=0.5) as gateway:
        acme = await gateway.new_tenant()
        job = await acme.member.jobs.CreateJob(create_job())
        watch = acme.member.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))
        await watch.read()

        news = await asyncio.wait_for(read_one(watch), timeout=5)
        watch.cancel()

    assert news.HasField("keep_alive")


async def test_a_call_without_a_deadline_gets_one(
    postgres: Postgres, short_directory: Path
) -> None:
    async with running_gateway(postgres, short_directory, unary_deadline_seconds=0.5) as gateway:
        acme = await gateway.new_tenant()
        async with await psycopg.AsyncConnection.connect(postgres.admin_url) as holder:
            await holder.execute(
                "SELECT 1 FROM accounts WHERE tenant_id = %s FOR UPDATE", [acme.tenant_id]
            )
            refused = await refusal(acme.member.jobs.CreateJob(create_job()))
            await holder.rollback()
        jobs = await gateway.rows(
            "SELECT count(*) FROM jobs WHERE tenant_id = %(tenant)s", tenant=acme.tenant_id
        )

    assert (refused.code, refused.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert jobs == [(0,)]


async def test_a_database_that_is_away_is_told_with_a_hint_when_to_retry(
    gateway: ServedGateway, acme: Studio
) -> None:
    async with await psycopg.AsyncConnection.connect(gateway.admin_url) as holder:
        await holder.execute(
            "SELECT 1 FROM accounts WHERE tenant_id = %s FOR UPDATE", [acme.tenant_id]
        )
        call = asyncio.ensure_future(refusal(acme.member.jobs.CreateJob(create_job())))
        await asyncio.sleep(0.3)
        await holder.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'gateway%%' AND pid <> pg_backend_pid()"
        )
        refused = await call
        await holder.rollback()

    accepted = await acme.member.jobs.CreateJob(create_job())

    assert (refused.code, refused.reason) == ("UNAVAILABLE", "DATABASE_DOWN")
    assert refused.retry_seconds == 1.0
    assert accepted.image_count == 1


async def test_a_watch_outlives_the_loss_of_the_listening_connection(
    gateway: ServedGateway, acme: Studio
) -> None:
    job = await acme.member.jobs.CreateJob(create_job())
    watch = acme.member.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))
    await watch.read()

    await gateway.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"
        " AND pid <> pg_backend_pid()"
    )
    await acme.member.jobs.CancelJob(job_service_pb2.CancelJobRequest(name=job.name))
    rest = await asyncio.wait_for(read_all(watch), timeout=5)

    assert rest[-1].job.state == job_service_pb2.JOB_STATE_CANCELLED


async def test_a_gateway_that_stops_ends_its_streams_with_a_hint(
    postgres: Postgres, short_directory: Path
) -> None:
    settings = gateway_settings(postgres, short_directory)
    key = await make_first_operator_key(
        postgres.url("atelier_operator"), pepper=PEPPER.encode(), another=True
    )
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(settings))
        address = f"127.0.0.1:{port}"
        gateway = ServedGateway(
            address=address,
            operator=Client(address, key),
            admin_url=postgres.admin_url,
            objects_directory=short_directory,
        )
        acme = await gateway.new_tenant()
        job = await acme.member.jobs.CreateJob(create_job())
        watch = acme.member.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))
        await watch.read()
        rest = asyncio.ensure_future(refusal(read_all(watch)))
        await asyncio.sleep(0)

        await stack.aclose()
        refused = await rest
        await gateway.close_clients()

    assert (refused.code, refused.reason) == ("UNAVAILABLE", "DRAINING")
    assert refused.retry_seconds == 2.0


async def test_one_way_in_does_not_open_another_methods(gateway: ServedGateway) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await gateway.client(None).send("/atelier.v1.JobService/DropTables", b"")

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def process_environment(postgres: Postgres, directory: Path) -> dict[str, str]:
    settings = gateway_settings(postgres, directory)
    return os.environ | {
        "ATELIER_GATEWAY_LISTEN_ADDRESS": "127.0.0.1:0",
        "ATELIER_GATEWAY_DATABASE_URL": settings.database_url.get_secret_value(),
        "ATELIER_GATEWAY_OPERATOR_DATABASE_URL": settings.operator_database_url.get_secret_value(),
        "ATELIER_GATEWAY_RUN_DIRECTORY": str(settings.run_directory),
        "ATELIER_GATEWAY_OBJECTS_URL": settings.objects_url,
        "ATELIER_GATEWAY_MODEL_CATALOGUE_PATH": str(settings.model_catalogue_path),
        "ATELIER_GATEWAY_KEY_PEPPER": PEPPER,
        "ATELIER_GATEWAY_PAGE_TOKEN_SECRET": "a secret for tests, 32 characters",
    }


async def test_the_process_serves_until_sigterm_and_exits_with_zero(
    postgres: Postgres, short_directory: Path
) -> None:
    environment = process_environment(postgres, short_directory)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.gateway", env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), timeout=20)).decode()
    port = re.search(r'"port": (\d+)', line)
    assert port is not None, line
    key = await make_first_operator_key(
        postgres.url("atelier_operator"), pepper=PEPPER.encode(), another=True
    )
    client = Client(f"127.0.0.1:{port[1]}", key)

    models = await client.models.ListModels(MODELS)
    process.send_signal(signal.SIGTERM)
    rest, _ = await asyncio.wait_for(process.communicate(), timeout=20)
    await client.channel.close()

    assert len(models.models) == 2
    assert process.returncode == 0
    log = line + rest.decode()
    assert '"method": "/atelier.v1.ModelService/ListModels"' in log
    assert key not in log
    assert key.split("_")[3] not in log


def test_every_missing_setting_is_told_at_once(short_directory: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")
    }

    ended = subprocess.run(
        [sys.executable, "-m", "services.gateway"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert ended.returncode == 1
    for name in ("database_url", "operator_database_url", "key_pepper", "objects_url"):
        assert name in ended.stderr
