"""An image from acceptance to its end, on the real tables with the real roles."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from metering import accounts, ledger, ledger_reading
from metering.energy_source import EnergySource
from metering.errors import InsufficientBalanceError
from metering.price_book import insert_price_version
from metering.price_document import Component, PriceComponent, PriceDocument, Tier
from metering.usage_records import BatchShare, get_receipts
from services.jobs import claims, finishes, job_store, recovery, worker_session_store
from services.jobs.cancellation import cancel_job
from services.jobs.charging import DrawnAttempt, DrawnEnergy
from services.jobs.errors import RequestIdReusedError
from services.jobs.finishes import FinishAnswer
from services.jobs.image_states import ImageState, JobState
from services.jobs.picture_store import NewPicture
from services.jobs.records import (
    AttemptKey,
    ClaimedImage,
    ImageSpec,
    Job,
    NewImage,
    NewJob,
    WorkerIdentity,
)
from services.jobs.requests import claim_request, complete_request
from services.jobs.worker_session_store import Heartbeat
from tenants.ids import GpuId, KeyId, PriceId, SessionId, TenantId
from tenants.tenant_store import NewTenant, insert_tenant
from tests.integration.fixture_types import Become

ACME = TenantId("acme-of-lifecycle")
WORKER = WorkerIdentity(session_id=SessionId("s1"), gpu_id=GpuId("cpu-0"), model="mini")
SPEC = ImageSpec(
    model="mini",
    prompt="a red mug",
    negative_prompt="",
    width=64,
    height=64,
    num_inference_steps=4,
    guidance_scale=4.5,
    seed=2**64 - 1,
    max_sequence_length=77,
    output_format="PNG",
    output_quality=90,
)
PRICE = PriceDocument(
    currency="EUR",
    components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=10_000_000),),
)


@pytest.fixture
async def price_id(connection: AsyncConnection) -> PriceId:
    await insert_tenant(connection, NewTenant(tenant_id=ACME, display_name="Acme", currency="EUR"))
    await accounts.open_accounts(connection, tenant_id=ACME, currency="EUR")
    await ledger.grant_credit(
        connection,
        tenant_id=ACME,
        amount_nanos=30_000_000,
        currency="EUR",
        description="welcome",
        request_id=None,
    )
    price = await insert_price_version(
        connection, price_book="standard", effective_time=datetime.now(UTC), document=PRICE
    )
    return price.price_id


def new_job(price_id: PriceId, *, images: int, tier: Tier = Tier.BATCH) -> NewJob:
    return NewJob(
        tenant_id=ACME,
        key_id=KeyId("k1"),
        display_name="",
        tier=tier,
        project="",
        labels={},
        price_id=price_id,
        currency="EUR",
        images=tuple(NewImage(spec=SPEC, hold_nanos=10_000_000, labels={}) for _ in range(images)),
    )


async def accept(connection: AsyncConnection, become: Become, job: NewJob) -> Job:
    await become(connection, "atelier_gateway", tenant_id=ACME)
    return await job_store.create_job(connection, job)


async def claim(connection: AsyncConnection, become: Become) -> ClaimedImage | None:
    await become(connection, "atelier_recorder", tenant_id=ACME)
    await worker_session_store.heartbeat(
        connection,
        Heartbeat(
            worker=WORKER,
            process_id=1,
            ready=True,
            waiting_tokens=0,
            batch_slots_free=1,
            interactive_slots_free=1,
            engine_step_counter=0,
            running=(),
        ),
        tenant_id=ACME,
        lease_seconds=15,
    )
    return await claims.claim_image(
        connection, WORKER, tenant_id=ACME, interactive_only=False, nothing_in_flight=True
    )


async def must_claim(connection: AsyncConnection, become: Become) -> ClaimedImage:
    claimed = await claim(connection, become)
    assert claimed is not None
    return claimed


async def succeed(connection: AsyncConnection, key: AttemptKey) -> FinishAnswer:
    return await finishes.succeed_image(
        connection,
        DrawnAttempt(
            key=key,
            session_id=WORKER.session_id,
            gpu_id=WORKER.gpu_id,
            precision="fp32 cpu",
            batch_shares=(BatchShare(batch_size=1, step_count=4),),
            gpu_seconds=1.5,
            queue_seconds=0.1,
            last_mark_number=3,
            energy=DrawnEnergy(
                millijoules=9_000, error_millijoules=400, source=EnergySource.ESTIMATED
            ),
        ),
        NewPicture(
            sha256="0" * 64,
            byte_count=100,
            content_type="image/png",
            width=64,
            height=64,
            spool_name="x",
        ),
    )


async def balance(connection: AsyncConnection) -> ledger_reading.Balance:
    found = await ledger_reading.get_balance(connection, tenant_id=ACME, currency="EUR")
    assert found is not None
    return found


async def test_accepting_a_job_holds_its_ceiling(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    job = await accept(connection, become, new_job(price_id, images=2))

    assert (job.state, job.queued_count, job.last_event_number) == (JobState.QUEUED, 2, 1)
    assert (await balance(connection)).held_nanos == 20_000_000


async def test_a_job_that_the_balance_does_not_cover_is_refused(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    with pytest.raises(InsufficientBalanceError):
        async with connection.transaction():
            await accept(connection, become, new_job(price_id, images=4))

    assert (await balance(connection)).held_nanos == 0


async def test_a_finished_image_is_charged_once_however_often_it_is_finished(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    job = await accept(connection, become, new_job(price_id, images=1))
    claimed = await must_claim(connection, become)

    first = await succeed(connection, claimed.attempt)
    second = await succeed(connection, claimed.attempt)

    assert first == second == FinishAnswer(accepted=True, state=ImageState.SUCCEEDED)
    assert claimed.spec == SPEC
    assert (await balance(connection)).spent_nanos == 10_000_000
    assert (await balance(connection)).held_nanos == 0
    await become(connection, "atelier_gateway", tenant_id=ACME)
    ended = await job_store.get_job(connection, tenant_id=ACME, job_id=job.job_id)
    assert ended is not None
    assert ended.state == JobState.SUCCEEDED
    receipts = await get_receipts(connection, tenant_id=ACME, image_ids=[claimed.attempt.image_id])
    assert receipts[claimed.attempt.image_id].usage.price_nanos == 10_000_000


async def test_a_wrong_claim_token_changes_nothing(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    await accept(connection, become, new_job(price_id, images=1))
    claimed = await must_claim(connection, become)

    answer = await succeed(connection, replace(claimed.attempt, claim_token=uuid4()))

    assert not answer.accepted
    assert (await balance(connection)).spent_nanos == 0


async def test_a_lost_attempt_is_queued_again_and_its_late_result_refused(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    await accept(connection, become, new_job(price_id, images=1))
    old = await must_claim(connection, become)
    await lose(connection, become)

    new = await must_claim(connection, become)
    late = await succeed(connection, old.attempt)
    kept = await succeed(connection, new.attempt)

    assert (new.attempt.attempt, late.accepted, kept.accepted) == (2, False, True)
    assert (await balance(connection)).spent_nanos == 10_000_000


async def test_the_third_lost_attempt_that_began_a_step_ends_the_image_uncharged(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    job = await accept(connection, become, new_job(price_id, images=1))
    alone: list[bool] = []
    for _ in range(3):
        claimed = await must_claim(connection, become)
        alone.append(claimed.alone)
        await note_begun(connection, claimed.attempt.claim_token)
        await lose(connection, become)

    await become(connection, "atelier_gateway", tenant_id=ACME)
    ended = await job_store.get_job(connection, tenant_id=ACME, job_id=job.job_id)

    assert ended is not None
    assert alone == [False, True, True]
    assert ended.state == JobState.FAILED
    assert (await balance(connection)).available_nanos == 30_000_000


async def test_cancelling_ends_what_waits_and_wishes_for_what_runs(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    job = await accept(connection, become, new_job(price_id, images=2))
    claimed = await must_claim(connection, become)
    await become(connection, "atelier_gateway", tenant_id=ACME)
    await cancel_job(connection, job.job_id)
    halfway = await job_store.get_job(connection, tenant_id=ACME, job_id=job.job_id)
    await become(connection, "atelier_recorder", tenant_id=ACME)

    await finishes.confirm_cancel(connection, claimed.attempt, began_step=True)

    ended = await job_store.get_job(connection, tenant_id=ACME, job_id=job.job_id)
    assert halfway is not None
    assert (halfway.state, halfway.cancelled_count) == (JobState.CANCELLING, 1)
    assert ended is not None
    assert (ended.state, ended.cancelled_count) == (JobState.CANCELLED, 2)
    assert (await balance(connection)).available_nanos == 30_000_000


async def test_jobs_take_turns_and_interactive_ones_come_first(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    large = await accept(connection, become, new_job(price_id, images=1))
    small = await accept(connection, become, new_job(price_id, images=1))
    quick = await accept(connection, become, new_job(price_id, images=1, tier=Tier.INTERACTIVE))

    order = [(await must_claim(connection, become)).job_id for _ in range(3)]

    assert order[0] == quick.job_id
    assert set(order[1:]) == {large.job_id, small.job_id}


async def test_events_of_a_job_are_numbered_without_gaps(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    job = await accept(connection, become, new_job(price_id, images=2))
    for _ in range(2):
        await succeed(connection, (await must_claim(connection, become)).attempt)

    events = await job_store.events_after(
        connection, tenant_id=ACME, job_id=job.job_id, event_number=0, limit=100
    )

    assert [event.event_number for event in events] == list(range(1, len(events) + 1))
    assert events[-1].job_state == JobState.SUCCEEDED


async def test_a_request_id_with_another_body_is_refused(
    connection: AsyncConnection, become: Become, price_id: PriceId
) -> None:
    await become(connection, "atelier_gateway", tenant_id=ACME)
    request_id = uuid4()
    first = await claim_request(
        connection, tenant_id=ACME, request_id=request_id, method="M", body_sha256=b"1" * 32
    )
    await complete_request(
        connection, tenant_id=ACME, request_id=request_id, resource_name="jobs/1"
    )

    again = await claim_request(
        connection, tenant_id=ACME, request_id=request_id, method="M", body_sha256=b"1" * 32
    )

    assert (first, again) == (None, "jobs/1")
    with pytest.raises(RequestIdReusedError):
        await claim_request(
            connection, tenant_id=ACME, request_id=request_id, method="M", body_sha256=b"2" * 32
        )


async def note_begun(connection: AsyncConnection, claim_token: UUID) -> None:
    await connection.execute(
        "UPDATE attempts SET began_step = true WHERE claim_token = %s", [claim_token]
    )


async def lose(connection: AsyncConnection, become: Become) -> None:
    """End the worker's session and let the housekeeper find what it held."""
    await become(connection, "atelier_recorder", tenant_id=ACME)
    await worker_session_store.end_session(connection, WORKER.session_id)
    await become(connection, "atelier_housekeeper")
    for lost in await recovery.lost_attempts(connection, limit=10):
        await recovery.recover_lost(connection, lost)
