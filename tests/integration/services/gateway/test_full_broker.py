"""A studio whose broker has no room: its jobs are accepted, and drawn once room is made."""

import asyncio
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import redis

from atelier.v1 import job_service_pb2
from services.dispatch.token_publisher import queue_length
from services.housekeeper.missing_tokens import MissingTokens
from services.transport.broker_places import BrokerPlaces
from tenants.run_directory import RunDirectory
from tests.integration.brokers import fill, running_broker
from tests.integration.fixture_types import Pools, Postgres
from tests.integration.installation import eventually, make_tenant_directory, recorder_process
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    spec,
)
from tests.integration.services.worker.token_worker import token_worker

pytestmark = pytest.mark.integration

MODEL: Final = "test-model"


@pytest.fixture
def run(
    postgres: Postgres, gateway: ServedGateway, acme: Studio, zeta: Studio, short_directory: Path
) -> Generator[RunDirectory]:
    """The gateway's own directory, with a broker for each studio and a recorder."""
    with ExitStack() as stack:
        for studio in (acme, zeta):
            run = make_tenant_directory(short_directory, studio.tenant_id)
            stack.enter_context(running_broker(run, studio.tenant_id))
        recorder = recorder_process(postgres, short_directory, energy_wait_seconds=0.1)
        recorder.start()
        stack.callback(recorder.end)
        yield RunDirectory(short_directory)


async def draw_all(
    run: RunDirectory, studio: Studio, job: job_service_pb2.Job
) -> job_service_pb2.Job:
    """Draw with the studio's worker until the job has ended."""
    worker = token_worker(
        broker=BrokerPlaces(run=run).of(studio.tenant_id),
        recorder=run.recorder_socket(studio.tenant_id),
        model=MODEL,
    )

    async def ended() -> job_service_pb2.Job | None:
        now = await studio.member.jobs.GetJob(job_service_pb2.GetJobRequest(name=job.name))
        return now if now.HasField("end_time") else None

    async with worker:
        return await eventually(ended, what=f"the end of {job.name}")


async def test_a_job_is_accepted_beside_a_full_broker_and_drawn_once_the_housekeeper_made_room(
    gateway: ServedGateway, acme: Studio, zeta: Studio, run: RunDirectory, pools: Pools
) -> None:
    brokers = BrokerPlaces(run=run)
    with redis.Redis(unix_socket_path=str(run.broker_socket(acme.tenant_id))) as hogged:
        await asyncio.to_thread(fill, hogged)

    accepted = await acme.member.jobs.CreateJob(create_job(spec(count=5)))
    neighbour = await zeta.member.jobs.CreateJob(create_job(spec(count=5)))
    drawn_beside = await draw_all(run, zeta, neighbour)
    waiting = await acme.member.jobs.GetJob(job_service_pb2.GetJobRequest(name=accepted.name))
    async with pools("atelier_housekeeper") as pool:
        housekeeper = MissingTokens(pool, brokers=brokers)
        # Seen missing twice and refused, then emptied, then seen missing twice again.
        for _ in range(4):
            await housekeeper.sweep()
    tokens = queue_length(brokers, tenant_id=acme.tenant_id, model=MODEL)
    drawn_after = await draw_all(run, acme, accepted)

    assert accepted.state == waiting.state == job_service_pb2.JOB_STATE_QUEUED
    assert tokens == 5
    assert drawn_beside.state == drawn_after.state == job_service_pb2.JOB_STATE_SUCCEEDED
    assert drawn_after.succeeded_count == 5
