"""What a tenant sees of images while and after they are drawn: news, pictures, usage, invoices."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from atelier.v1 import (
    billing_service_pb2,
    energy_pb2,
    image_pb2,
    job_service_pb2,
    model_service_pb2,
    usage_service_pb2,
)
from services.gateway import job_watch
from services.recorder.spool import spool_name
from tenants.ids import TenantId
from tests.integration.fixture_types import Pools
from tests.integration.services.gateway.drawing import Drawer, recorder_for_gateways
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    read_all,
    read_one,
    refusal,
    spec,
)

pytestmark = pytest.mark.integration


@pytest.fixture
async def drawer(
    gateway: ServedGateway, acme: Studio, pools: Pools, short_directory: Path
) -> AsyncGenerator[Drawer]:
    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory) as spool,
    ):
        yield Drawer(pool=pool, tenant_id=TenantId(acme.tenant_id), spool=spool)


def states(news: list[job_service_pb2.WatchJobResponse]) -> list[str]:
    """The news in short: JOB:…, IMAGE:…."""
    told: list[str] = []
    for item in news:
        if item.HasField("job"):
            told.append(job_service_pb2.JobState.Name(item.job.state).replace("_STATE_", ":"))
        elif item.HasField("image"):
            told.append(image_pb2.ImageState.Name(item.image.state).replace("_STATE_", ":"))
    return told


async def test_a_watcher_sees_every_change_and_the_end(acme: Studio, drawer: Drawer) -> None:
    job = await acme.member.jobs.CreateJob(create_job(spec(2)))
    watch = acme.member.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))
    first = await read_one(watch)
    watching = asyncio.ensure_future(read_all(watch))

    for _ in range(2):
        claimed = await drawer.claim()
        await asyncio.sleep(0.1)
        await drawer.succeed(claimed)
        await asyncio.sleep(0.1)
    news = [first, *await asyncio.wait_for(watching, timeout=15)]

    told = states(news)
    assert told[0] == "JOB:QUEUED"
    assert [item for item in told if item.startswith("IMAGE")] == [
        "IMAGE:RUNNING",
        "IMAGE:SUCCEEDED",
        "IMAGE:RUNNING",
        "IMAGE:SUCCEEDED",
    ]
    assert told[-1] == "JOB:SUCCEEDED"
    assert news[-1].job.price.nanos == 2_000_000
    assert all(item.resume_token for item in news)


async def test_a_watcher_who_comes_late_is_told_everything_in_order(
    acme: Studio, drawer: Drawer
) -> None:
    job = await acme.member.jobs.CreateJob(create_job(spec(2)))
    await drawer.succeed(await drawer.claim())
    await drawer.fail((await drawer.claim()).attempt)

    news = await read_all(acme.member.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name)))

    assert states(news) == [
        "JOB:PARTIALLY_SUCCEEDED",
        "IMAGE:RUNNING",
        "IMAGE:SUCCEEDED",
        "IMAGE:RUNNING",
        "IMAGE:FAILED",
    ]
    assert not news[1].image.HasField("receipt")
    assert news[2].image.receipt.price.nanos == 1_000_000
    assert news[4].image.failure.reason == "OUT_OF_MEMORY"


async def test_a_watch_goes_on_from_its_token_without_a_gap(acme: Studio, drawer: Drawer) -> None:
    job = await acme.member.jobs.CreateJob(create_job(spec(3)))
    for _ in range(3):
        await drawer.succeed(await drawer.claim())
    whole = await read_all(
        acme.member.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))
    )

    resumed = [
        await read_all(
            acme.member.jobs.WatchJob(
                job_service_pb2.WatchJobRequest(name=job.name, resume_token=item.resume_token)
            )
        )
        for item in whole
    ]

    rests = [states(news)[1:] for news in resumed]
    assert rests == [states(whole)[index + 1 :] for index in range(len(whole))]


async def test_progress_is_told_while_an_image_runs(
    gateway: ServedGateway, acme: Studio, drawer: Drawer
) -> None:
    job = await acme.member.jobs.CreateJob(create_job())
    claimed = await drawer.claim()
    await gateway.change(
        "INSERT INTO image_progress"
        " (tenant_id, image_id, job_id, attempt, step, step_count, preview)"
        " VALUES (%(tenant)s, %(image)s, %(job)s, 1, 2, 4, 'png')",
        tenant=acme.tenant_id,
        image=claimed.attempt.image_id,
        job=claimed.job_id,
    )

    progress: dict[bool, image_pb2.ImageProgress] = {}
    for previews in (False, True):
        watch = acme.member.jobs.WatchJob(
            job_service_pb2.WatchJobRequest(name=job.name, previews=previews)
        )
        async for item in watch:
            if item.HasField("progress"):
                progress[previews] = item.progress
                break
        watch.cancel()

    assert (progress[False].step, progress[False].step_count) == (2, 4)
    assert (progress[False].preview, progress[True].preview) == (b"", b"png")
    assert progress[True].image.endswith(claimed.attempt.image_id)


async def download(client: Any, name: str, offset: int = 0) -> tuple[Any, bytes]:
    parts = await read_all(
        client.jobs.DownloadImage(
            job_service_pb2.DownloadImageRequest(name=name, read_offset=offset)
        )
    )
    return parts[0].file, b"".join(part.chunk for part in parts[1:])


@pytest.mark.parametrize("stored", [False, True], ids=["from the spool", "from the store"])
async def test_a_picture_is_downloaded_whole_and_from_an_offset(
    gateway: ServedGateway,
    acme: Studio,
    drawer: Drawer,
    stored: bool,
) -> None:
    picture = bytes(range(256)) * 4096
    await acme.member.jobs.CreateJob(create_job())
    claimed = await drawer.claim()
    await drawer.succeed(claimed, picture)
    name = f"tenants/-/jobs/{claimed.job_id}/images/{claimed.attempt.image_id}"
    if stored:
        await store_picture(gateway, drawer, claimed)

    file, content = await download(acme.member, name)
    _, rest = await download(acme.member, name, offset=1_000_000)
    _, nothing = await download(acme.member, name, offset=len(picture))

    assert content == picture
    assert rest == picture[1_000_000:]
    assert nothing == b""
    assert file.sha256 == hashlib.sha256(picture).hexdigest()
    assert (file.byte_count, file.content_type) == (len(picture), "image/png")


async def store_picture(gateway: ServedGateway, drawer: Drawer, claimed: Any) -> Path:
    """Carry a picture to the object store, as the recorder's uploader does; returns its place."""
    ((path,),) = await gateway.rows(
        "SELECT object_path FROM pictures WHERE image_id = %(image)s",
        image=claimed.attempt.image_id,
    )
    spooled = drawer.spool.path(spool_name(claimed.attempt))
    target = gateway.objects_directory / path
    target.parent.mkdir(parents=True)
    spooled.rename(target)
    await gateway.change(
        "UPDATE pictures SET store_time = now() WHERE image_id = %(image)s",
        image=claimed.attempt.image_id,
    )
    return target


async def test_a_slow_reader_costs_the_gateway_a_few_chunks_and_nobody_else_anything(
    gateway: ServedGateway, acme: Studio, drawer: Drawer
) -> None:
    await acme.member.jobs.CreateJob(create_job())
    claimed = await drawer.claim()
    await drawer.succeed(claimed, bytes(32 * 1024 * 1024))
    stored = await store_picture(gateway, drawer, claimed)
    name = f"tenants/-/jobs/{claimed.job_id}/images/{claimed.attempt.image_id}"
    slow = acme.member.jobs.DownloadImage(job_service_pb2.DownloadImageRequest(name=name))
    await slow.read()
    await slow.read()

    answered = await acme.member.jobs.GetJob(
        job_service_pb2.GetJobRequest(name=name.partition("/images/")[0])
    )
    # What the gateway has not read yet is gone now: had it read on without us, all would come.
    stored.unlink()
    refused = await refusal(read_all(slow))

    assert answered.succeeded_count == 1
    assert (refused.code, refused.reason) == ("UNAVAILABLE", "BACKEND_DOWN")


async def test_a_picture_that_is_not_there_is_told_from_one_that_cannot_be_read(
    gateway: ServedGateway, acme: Studio, drawer: Drawer
) -> None:
    job = await acme.member.jobs.CreateJob(create_job())
    images = await acme.member.jobs.ListImages(job_service_pb2.ListImagesRequest(parent=job.name))
    name = images.images[0].name

    queued = await refusal(download(acme.member, name))
    claimed = await drawer.claim()
    await drawer.succeed(claimed)
    behind = await refusal(download(acme.member, name, offset=1_000))
    drawer.spool.path(spool_name(claimed.attempt)).unlink()
    lost = await refusal(download(acme.member, name))

    assert (queued.code, queued.reason) == ("FAILED_PRECONDITION", "INVALID_STATE_TRANSITION")
    assert queued.metadata == {"state": "QUEUED"}
    assert (behind.code, behind.fields) == ("INVALID_ARGUMENT", ["read_offset"])
    assert (lost.code, lost.reason) == ("UNAVAILABLE", "BACKEND_DOWN")
    assert lost.retry_seconds == 1.0


async def test_an_image_carries_its_receipt(acme: Studio, drawer: Drawer) -> None:
    job = await acme.member.jobs.CreateJob(create_job(spec(seed=2**64 - 1)))
    await drawer.succeed(await drawer.claim())

    images = await acme.member.jobs.ListImages(job_service_pb2.ListImagesRequest(parent=job.name))

    image = images.images[0]
    assert image.state == image_pb2.IMAGE_STATE_SUCCEEDED
    assert image.receipt.seed == image.spec.seed == 2**64 - 1
    assert image.receipt.energy_millijoules == 9_000
    assert image.receipt.energy_source == energy_pb2.ENERGY_SOURCE_ESTIMATED
    assert [(line.component, line.billed_cost.nanos) for line in image.receipt.price_lines] == [
        ("PER_IMAGE", 1_000_000)
    ]
    assert image.receipt.sha256 == image.file.sha256 == hashlib.sha256(b"picture").hexdigest()
    assert (image.file.width, image.file.height) == (128, 128)


async def test_a_job_tells_what_is_before_it_and_when_it_will_be_done(
    acme: Studio, drawer: Drawer
) -> None:
    first = await acme.member.jobs.CreateJob(create_job(spec(3)))
    unknown = first.HasField("estimated_finish_time")
    await drawer.succeed(await drawer.claim())
    await acme.member.jobs.CreateJob(create_job(spec(2)))
    urgent = await acme.member.jobs.CreateJob(create_job(spec(2), tier=image_pb2.TIER_INTERACTIVE))
    request = create_job(spec(5))
    request.validate_only = True

    asked = await acme.member.jobs.CreateJob(request)
    listed = await acme.member.jobs.ListJobs(job_service_pb2.ListJobsRequest(parent="tenants/-"))

    assert not unknown
    assert (urgent.queue_position, urgent.HasField("estimated_finish_time")) == (0, True)
    # Two urgent images, then the jobs take turns; the one never served yet goes first.
    assert [job.queue_position for job in listed.jobs] == [0, 2, 3]
    assert (asked.name, asked.image_count, asked.queue_position) == ("", 5, 3)
    assert asked.hold.nanos == 5_000_000
    assert asked.HasField("estimated_finish_time")
    assert [image.image_count for image in listed.jobs] == [2, 2, 3]


async def test_a_model_tells_what_was_measured_on_the_tenants_own_images(
    acme: Studio, zeta: Studio, drawer: Drawer
) -> None:
    await acme.member.jobs.CreateJob(create_job(spec(3)))
    for _ in range(3):
        await drawer.succeed(await drawer.claim())
    name = model_service_pb2.GetModelRequest(name="models/test-model")

    model = await acme.member.models.GetModel(name)
    other = await acme.member.models.GetModel(
        model_service_pb2.GetModelRequest(name="models/other-model")
    )
    stranger = await zeta.member.models.GetModel(name)

    (measured,) = model.measurements
    assert (measured.size.width, measured.size.height) == (128, 128)
    assert (measured.num_inference_steps, measured.image_count) == (4, 3)
    assert measured.energy_millijoules_per_image == 9_000
    assert measured.energy_source == energy_pb2.ENERGY_SOURCE_ESTIMATED
    # No meter has told this device's name here.
    assert measured.device == "cpu-0"
    assert measured.precision == "fp32 cpu"
    assert model.backend == "torch on cpu"
    assert list(other.measurements) == list(stranger.measurements) == []


async def test_a_watcher_is_told_what_changes_before_the_job(
    acme: Studio, drawer: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_watch, "_FORECAST_SECONDS", 0.1)
    await acme.member.jobs.CreateJob(create_job())
    waiting = await acme.member.jobs.CreateJob(create_job())
    watch = acme.member.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=waiting.name))
    first = await read_one(watch)

    await drawer.succeed(await drawer.claim())
    second = await asyncio.wait_for(read_one(watch), timeout=15)

    # Nothing has happened to the job itself: it became the next one, and something was measured.
    assert (first.job.queue_position, first.job.HasField("estimated_finish_time")) == (1, False)
    assert (second.job.queue_position, second.job.HasField("estimated_finish_time")) == (0, True)
    assert second.job.state == first.job.state
    watch.cancel()


async def test_the_first_estimate_of_a_job_is_kept(
    gateway: ServedGateway, acme: Studio, drawer: Drawer
) -> None:
    await acme.member.jobs.CreateJob(create_job(spec(1)))
    await drawer.succeed(await drawer.claim())
    job = await acme.member.jobs.CreateJob(create_job(spec(3)))
    await drawer.succeed(await drawer.claim())

    later = await acme.member.jobs.GetJob(job_service_pb2.GetJobRequest(name=job.name))

    rows = await gateway.rows(
        "SELECT job_id, open_image_count,"
        " extract(epoch FROM estimated_finish_time - %(told)s)::float8"
        " FROM finish_estimates WHERE tenant_id = %(tenant)s",
        tenant=acme.tenant_id,
        told=job.estimated_finish_time.ToDatetime(tzinfo=UTC),
    )
    assert later.estimated_finish_time != job.estimated_finish_time
    assert rows == [(job.name.rpartition("/")[2], 3, pytest.approx(0.0, abs=1e-5))]


async def test_failed_images_are_retried_as_a_new_job(acme: Studio, drawer: Drawer) -> None:
    job = await acme.member.jobs.CreateJob(create_job(spec(2, seed=5)))
    await drawer.succeed(await drawer.claim())
    await drawer.fail((await drawer.claim()).attempt)
    request = job_service_pb2.RetryFailedImagesRequest(name=job.name, request_id=str(uuid4()))

    retried = await acme.member.jobs.RetryFailedImages(request)
    again = await acme.member.jobs.RetryFailedImages(request)
    images = await acme.member.jobs.ListImages(
        job_service_pb2.ListImagesRequest(parent=retried.name)
    )

    assert retried.name == again.name
    assert retried.retry_of == job.name
    assert [image.spec.seed for image in images.images] == [6]


async def test_usage_balance_and_invoice_tell_the_same_sum(
    gateway: ServedGateway, acme: Studio, drawer: Drawer
) -> None:
    await acme.member.jobs.CreateJob(create_job(spec(3)))
    for _ in range(2):
        await drawer.succeed(await drawer.claim())
    parent = f"tenants/{acme.tenant_id}"
    period = f"{datetime.now(UTC):%Y-%m}"

    balance = await acme.member.billing.GetBalance(
        billing_service_pb2.GetBalanceRequest(name="tenants/-/balance")
    )
    usage = await acme.member.usage.QueryUsage(
        usage_service_pb2.QueryUsageRequest(
            parent=parent,
            group_by=[
                usage_service_pb2.USAGE_DIMENSION_MODEL,
                usage_service_pb2.USAGE_DIMENSION_PROJECT,
            ],
        )
    )
    records = await acme.member.usage.ListUsageRecords(
        usage_service_pb2.ListUsageRecordsRequest(parent=parent)
    )
    invoice = await acme.admin.billing.GetInvoice(
        billing_service_pb2.GetInvoiceRequest(name=f"{parent}/invoices/current")
    )
    listed = await acme.admin.billing.ListInvoices(
        billing_service_pb2.ListInvoicesRequest(parent=parent)
    )

    transfers = await acme.admin.billing.ListTransfers(
        billing_service_pb2.ListTransfersRequest(parent=parent, page_size=3)
    )
    older = await acme.admin.billing.ListTransfers(
        billing_service_pb2.ListTransfersRequest(
            parent=parent, page_size=1000, page_token=transfers.next_page_token
        )
    )

    kinds = [item.kind for item in (*transfers.transfers, *older.transfers)]
    assert kinds[:2] == [billing_service_pb2.TRANSFER_KIND_POST] * 2
    assert kinds[2:] == [
        *[billing_service_pb2.TRANSFER_KIND_PENDING] * 3,
        billing_service_pb2.TRANSFER_KIND_SINGLE,
    ]
    assert older.next_page_token == ""
    assert balance.posted.nanos == 10**12 - 2_000_000
    assert balance.held.nanos == 1_000_000
    assert balance.available.nanos == 10**12 - 3_000_000
    assert [list(group.group_values) for group in usage.groups] == [["models/test-model", "spring"]]
    assert usage.total.price.nanos == 2_000_000
    assert usage.total.energy_millijoules == 18_000
    assert [record.receipt.price.nanos for record in records.usage_records] == [1_000_000] * 2
    assert invoice.name == f"{parent}/invoices/{period}"
    assert invoice.state == billing_service_pb2.INVOICE_STATE_DRAFT
    assert invoice.net_total.nanos == 2_000_000
    assert sum(line.billed_cost.nanos for line in invoice.lines) == invoice.total.nanos
    assert [(item.name, len(item.lines)) for item in listed.invoices] == [(invoice.name, 0)]


@pytest.mark.parametrize(
    ("kind", "content_type", "start"),
    [
        (billing_service_pb2.INVOICE_FILE_KIND_UNSPECIFIED, "application/pdf", b"%PDF"),
        (billing_service_pb2.INVOICE_FILE_KIND_CSV, "text/csv", b"invoice_id"),
    ],
)
async def test_an_invoice_is_downloaded_as_a_file(
    acme: Studio,
    drawer: Drawer,
    kind: billing_service_pb2.InvoiceFileKind.ValueType,
    content_type: str,
    start: bytes,
) -> None:
    await acme.member.jobs.CreateJob(create_job())
    await drawer.succeed(await drawer.claim())

    parts = await read_all(
        acme.admin.billing.DownloadInvoice(
            billing_service_pb2.DownloadInvoiceRequest(
                name="tenants/-/invoices/current", file_kind=kind
            )
        )
    )

    file, content = parts[0].file, b"".join(part.chunk for part in parts[1:])
    assert file.content_type == content_type
    assert file.byte_count == len(content)
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert content.startswith(start)


async def test_an_invoice_of_a_time_without_the_tenant_is_not_found(acme: Studio) -> None:
    refused = [
        await refusal(
            acme.admin.billing.GetInvoice(
                billing_service_pb2.GetInvoiceRequest(name=f"tenants/-/invoices/{period}")
            )
        )
        for period in ("1999-01", "0000-01", "9999-12")
    ]

    assert {(answer.code, answer.reason) for answer in refused} == {
        ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    }
