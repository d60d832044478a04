import asyncio
from uuid import uuid4

import pytest

from atelier.v1 import job_service_pb2
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    refusal,
    spec,
)

pytestmark = pytest.mark.integration


async def test_a_job_is_accepted_and_read_back(gateway: ServedGateway, acme: Studio) -> None:
    request = create_job(
        spec(2, seed=7, client_ref="", labels={"sku": "b-1"}),
        spec(1, prompt="a blue boat", width=64, height=192, client_ref="boat"),
        display_name="spring",
        labels={"season": "spring"},
    )

    created = await acme.member.jobs.CreateJob(request)
    read = await acme.member.jobs.GetJob(job_service_pb2.GetJobRequest(name=created.name))
    images = await acme.member.jobs.ListImages(
        job_service_pb2.ListImagesRequest(parent=created.name)
    )

    assert created == read
    assert created.name.startswith(f"tenants/{acme.tenant_id}/jobs/")
    assert (created.image_count, created.queued_count) == (3, 3)
    assert created.hold.nanos == 3_000_000
    assert created.project == "spring"
    assert [image.image_number for image in images.images] == [1, 2, 3]
    assert [image.spec.seed for image in images.images][:2] == [7, 8]
    assert images.images[0].spec.width == 128
    assert dict(images.images[0].spec.labels) == {"sku": "b-1", "season": "spring"}
    assert images.images[2].spec.client_ref == "boat"


async def test_the_same_request_again_gets_the_same_job(
    gateway: ServedGateway, acme: Studio
) -> None:
    request = create_job(spec(3))

    first = await acme.member.jobs.CreateJob(request)
    second = await acme.member.jobs.CreateJob(request)

    assert first == second
    assert await gateway.rows(
        "SELECT count(*) FROM images WHERE tenant_id = %(tenant)s", tenant=acme.tenant_id
    ) == [(3,)]


async def test_concurrent_duplicates_make_one_job(gateway: ServedGateway, acme: Studio) -> None:
    request = create_job(spec(3))

    answers = await asyncio.gather(*(acme.member.jobs.CreateJob(request) for _ in range(16)))

    assert len({answer.name for answer in answers}) == 1
    assert await gateway.rows(
        "SELECT (SELECT count(*) FROM jobs WHERE tenant_id = %(tenant)s),"
        " (SELECT count(*) FROM images WHERE tenant_id = %(tenant)s),"
        " (SELECT count(*) FROM transfers WHERE tenant_id = %(tenant)s AND kind = 'PENDING')",
        tenant=acme.tenant_id,
    ) == [(1, 3, 3)]


async def test_the_same_request_id_with_another_body_is_refused(
    gateway: ServedGateway, acme: Studio
) -> None:
    request_id = str(uuid4())
    await acme.member.jobs.CreateJob(create_job(spec(1), request_id=request_id))

    refused = await refusal(acme.member.jobs.CreateJob(create_job(spec(2), request_id=request_id)))

    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
    assert refused.metadata == {"request_id": request_id}


async def test_no_concurrency_spends_more_than_there_is(gateway: ServedGateway) -> None:
    tenant = await gateway.new_tenant(credit_nanos=10_000_000)
    requests = [create_job(spec(3)) for _ in range(12)]

    answers = await asyncio.gather(
        *(tenant.member.jobs.CreateJob(request) for request in requests), return_exceptions=True
    )

    accepted = [answer for answer in answers if isinstance(answer, job_service_pb2.Job)]
    assert len(accepted) == 3
    assert await gateway.rows(
        "SELECT debits_pending FROM accounts WHERE tenant_id = %(tenant)s AND kind = 'WALLET'",
        tenant=tenant.tenant_id,
    ) == [(9_000_000,)]
    assert await gateway.rows(
        "SELECT count(*) FROM jobs WHERE tenant_id = %(tenant)s", tenant=tenant.tenant_id
    ) == [(3,)]
