"""A machine that does to the real tables what tenants, workers and housekeeper do, in any order.

It keeps every attempt it was ever given and goes on using them, as a frozen worker or a doubled
message would. `invoices_machine.py` adds the operator's months.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from metering import accounts, budgets, ledger, ledger_chain, ledger_reading
from metering.credit_lots import lots_to_expire
from metering.energy_source import EnergySource
from metering.errors import BudgetExceededError, InsufficientBalanceError
from metering.invariants import check_invariants
from metering.price_book import insert_price_version
from metering.price_document import Component, PriceComponent, PriceDocument, TaxRate, Tier
from services.jobs import (
    cancellation,
    claims,
    finishes,
    job_store,
    recovery,
    worker_session_store,
)
from services.jobs.charging import DrawnAttempt, DrawnEnergy
from services.jobs.errors import InvalidTransitionError
from services.jobs.image_states import LOST_ATTEMPTS_MAX
from services.jobs.picture_store import NewPicture
from services.jobs.records import AttemptKey, ImageSpec, NewImage, NewJob, WorkerIdentity
from services.jobs.requests import claim_request, complete_request
from services.jobs.worker_session_store import Heartbeat, RunningAttempt
from tenants.ids import GpuId, JobId, KeyId, PriceId, SessionId, TenantId
from tenants.tenant_store import NewTenant, insert_tenant
from tests.integration.fixture_types import Postgres

T = TypeVar("T")
ACME = TenantId("acme-of-the-model")
PRICE_NANOS = 123_456_789
TENTH_NANOS = 12_345_678
PRICE = PriceDocument(
    currency="EUR",
    components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=PRICE_NANOS),),
    tax_rates=(TaxRate(display_name="VAT 19 %", rate_millionths=190_000),),
)
GRANT_NANOS = 12 * PRICE_NANOS
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
# A rule that came to nothing adds nothing to its bundle.
NOTHING: MultipleResults[Any] = multiple()
SESSIONS = st.sampled_from(["s1", "s2"])
SPEC = ImageSpec(
    model="mini",
    prompt="a red mug",
    negative_prompt="",
    width=64,
    height=64,
    num_inference_steps=4,
    guidance_scale=4.5,
    seed=1,
    max_sequence_length=77,
    output_format="PNG",
    output_quality=90,
)


@dataclass(kw_only=True)
class ModelImage:
    """What the machine believes of an image that was claimed at least once."""

    holder: AttemptKey | None
    session: str
    begun: bool
    answers: dict[int, bool]
    lost_count: int = 0


class ImagesMachine(RuleBasedStateMachine):
    """Tenants, workers and the housekeeper, in any order."""

    postgres: ClassVar[Postgres]
    jobs = Bundle("jobs")
    attempts = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.conn = self.run(AsyncConnection[TupleRow].connect(self.postgres.admin_url))
        self.images: dict[str, ModelImage] = {}
        self.cancelled_jobs: set[JobId] = set()
        self.charged_nanos = 0
        self.requests: dict[int, str] = {}

    def teardown(self) -> None:
        self.run(self.conn.rollback())
        self.run(self.conn.close())
        self.runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def become(self, role: str) -> None:
        statement = sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role))
        self.run(self.conn.execute(statement))
        # The housekeeper works for all tenants at once, so it sets none.
        tenant = "" if role == "atelier_housekeeper" else ACME
        setting = "SELECT set_config('atelier.tenant_id', %s, true)"
        self.run(self.conn.execute(setting, [tenant]))

    @initialize()
    def open_shop(self) -> None:
        self.price_id = self.run(_open_shop(self.conn))

    @rule(target=jobs, image_count=st.integers(1, 4), tier=st.sampled_from(Tier))
    def accept(self, image_count: int, tier: Tier) -> Any:
        self.become("atelier_gateway")
        try:
            job = self.run(self._accept(image_count, tier))
        except (InsufficientBalanceError, BudgetExceededError):
            return NOTHING
        return job.job_id

    async def _accept(self, image_count: int, tier: Tier) -> job_store.Job:
        async with self.conn.transaction():
            return await job_store.create_job(
                self.conn, _new_job(self.price_id, image_count=image_count, tier=tier)
            )

    @rule(tenths=st.integers(1, 60), expires=st.booleans(), priority=st.integers(0, 1))
    def top_up(self, tenths: int, expires: bool, priority: int) -> None:
        self.become("atelier_operator")
        self.run(
            ledger.grant_credit(
                self.conn,
                tenant_id=ACME,
                amount_nanos=tenths * TENTH_NANOS,
                currency="EUR",
                description="",
                request_id=None,
                priority=priority,
                expire_time=LONG_AGO if expires else None,
            )
        )

    @rule()
    def expire_credit(self) -> None:
        """What is over goes, as far as no hold stands on it; what remains is for the holds."""
        self.become("atelier_housekeeper")
        for lot in self.run(lots_to_expire(self.conn, now=datetime.now(UTC), limit=100)):
            if lot.tenant_id == ACME:
                self.run(ledger.expire_credit(self.conn, lot))
        balance = self.run(ledger_reading.get_balance(self.conn, tenant_id=ACME, currency="EUR"))
        assert balance is not None
        assert balance.available_nanos >= 0

    @rule()
    def seal(self) -> None:
        self.become("atelier_housekeeper")
        self.run(ledger_chain.seal_block(self.conn, ACME, limit=3))

    @rule(tenths=st.integers(0, 150))
    def set_budget(self, tenths: int) -> None:
        self.become("atelier_gateway")
        self.run(
            budgets.set_budget(
                self.conn,
                budgets.NewBudget(
                    tenant_id=ACME,
                    budget_id="all",
                    project="",
                    key_id=KeyId(""),
                    period=budgets.BudgetPeriod.TOTAL,
                    enforcement=budgets.BudgetEnforcement.HARD,
                    limit_nanos=tenths * TENTH_NANOS,
                    currency="EUR",
                ),
            )
        )

    @rule(request_number=st.integers(1, 3))
    def submit_twice(self, request_number: int) -> None:
        """A request that comes again, however often, has made one job."""
        self.become("atelier_gateway")
        known = self.requests.get(request_number)
        made = self.run(self._submit(UUID(int=request_number)))
        assert known is None or made == known
        if made is not None:
            self.requests[request_number] = made

    async def _submit(self, request_id: UUID) -> str | None:
        """What the request made, now or before; None when it was refused."""
        try:
            async with self.conn.transaction():
                made = await claim_request(
                    self.conn,
                    tenant_id=ACME,
                    request_id=request_id,
                    method="CreateJob",
                    body_sha256=bytes(32),
                )
                if made is not None:
                    return made
                job = await job_store.create_job(
                    self.conn, _new_job(self.price_id, image_count=1, tier=Tier.BATCH)
                )
                await complete_request(
                    self.conn, tenant_id=ACME, request_id=request_id, resource_name=job.job_id
                )
        except (InsufficientBalanceError, BudgetExceededError):
            return None
        return job.job_id

    @rule(job_id=jobs)
    def pass_deadline(self, job_id: JobId) -> None:
        """The time of a job's images is over, whatever they do."""
        self.run(self.conn.execute("RESET ROLE"))
        statement = "UPDATE images SET deadline_time = %s WHERE job_id = %s AND end_time IS NULL"
        self.run(self.conn.execute(statement, [LONG_AGO, job_id]))
        self.become("atelier_housekeeper")
        for expired in self.run(recovery.expired_images(self.conn, limit=100)):
            if expired.job_id == job_id:
                assert self.run(recovery.expire_image(self.conn, expired))
                known = self.images.get(expired.image_id)
                if known is not None:
                    known.answers.setdefault(expired.attempt, False)
                    known.holder = None

    @rule(target=attempts, session=SESSIONS, nothing_in_flight=st.booleans())
    def claim(self, session: str, nothing_in_flight: bool) -> Any:
        self._beat(session, running=())
        claimed = self.run(
            claims.claim_image(
                self.conn,
                worker_of(session),
                tenant_id=ACME,
                interactive_only=False,
                nothing_in_flight=nothing_in_flight,
            )
        )
        if claimed is None:
            return NOTHING
        key = claimed.attempt
        known = self.images.setdefault(
            key.image_id,
            ModelImage(holder=None, session=session, begun=False, answers={}),
        )
        assert known.holder is None, "two workers held the same image"
        assert claimed.job_id not in self.cancelled_jobs
        assert claimed.alone == (known.lost_count > 0)
        known.holder, known.session, known.begun = key, session, False
        return key

    @rule(key=attempts)
    def begin_a_step(self, key: AttemptKey) -> None:
        known = self.images[key.image_id]
        truth = self._beat(known.session, running=(running_attempt(key),))
        held = known.holder == key
        assert (key in truth.invalid_attempts) == (not held)
        known.begun = known.begun or held

    @rule(key=attempts, outcome=st.sampled_from(["picture", "failed", "cancelled", "back"]))
    def finish(self, key: AttemptKey, outcome: str) -> None:
        known = self.images[key.image_id]
        held = known.holder == key
        self.become("atelier_recorder")

        answer = self.run(_finish(self.conn, key, outcome))

        # The first answer again for one that ended an attempt; a refusal for one that was lost.
        assert answer.accepted == (held or known.answers.get(key.attempt, False))
        if held:
            known.holder = None
            known.answers[key.attempt] = True
            self.charged_nanos += PRICE_NANOS if outcome == "picture" else 0

    @rule(session=SESSIONS)
    def lose_session(self, session: str) -> None:
        self.become("atelier_recorder")
        self.run(worker_session_store.end_session(self.conn, SessionId(session)))
        self.become("atelier_housekeeper")
        found = self.run(recovery.lost_attempts(self.conn, limit=100))
        # Tests of whole processes share the database and commit: their images are not ours.
        for lost in (lost for lost in found if lost.image_id in self.images):
            known = self.images[lost.image_id]
            assert known.holder == lost.key
            self.run(recovery.recover_lost(self.conn, lost))
            known.lost_count += known.begun
            known.holder = None
            known.answers[lost.attempt] = False
            assert known.lost_count <= LOST_ATTEMPTS_MAX

    @rule(job_id=jobs)
    def cancel(self, job_id: JobId) -> None:
        self.become("atelier_gateway")
        try:
            self.run(cancellation.cancel_job(self.conn, job_id))
        except InvalidTransitionError:
            return
        self.cancelled_jobs.add(job_id)

    @rule(job_id=jobs)
    def watch(self, job_id: JobId) -> None:
        self.become("atelier_gateway")
        events = self.run(
            job_store.events_after(
                self.conn, tenant_id=ACME, job_id=job_id, event_number=0, limit=1000
            )
        )
        assert [event.event_number for event in events] == list(range(1, len(events) + 1))

    @invariant()
    def money_adds_up(self) -> None:
        self.become("atelier_housekeeper")
        violations = self.run(check_invariants(self.conn))
        assert not any(violations.values()), violations
        balance = self.run(ledger_reading.get_balance(self.conn, tenant_id=ACME, currency="EUR"))
        # Spent is what was charged and what expired.
        assert balance is None or balance.spent_nanos >= self.charged_nanos
        proof = self.run(ledger_chain.verify_ledger(self.conn, ACME))
        assert proof.first_inconsistency is None

    def _beat(
        self, session: str, *, running: tuple[RunningAttempt, ...]
    ) -> worker_session_store.SessionTruth:
        self.become("atelier_recorder")
        beat = Heartbeat(
            worker=worker_of(session),
            process_id=1,
            ready=True,
            waiting_tokens=0,
            batch_slots_free=1,
            interactive_slots_free=1,
            engine_step_counter=0,
            running=running,
        )
        return self.run(
            worker_session_store.heartbeat(self.conn, beat, tenant_id=ACME, lease_seconds=60)
        )


async def _open_shop(conn: AsyncConnection) -> PriceId:
    await insert_tenant(conn, NewTenant(tenant_id=ACME, display_name="Acme", currency="EUR"))
    await accounts.open_accounts(conn, tenant_id=ACME, currency="EUR")
    await ledger.grant_credit(
        conn,
        tenant_id=ACME,
        amount_nanos=GRANT_NANOS,
        currency="EUR",
        description="welcome",
        request_id=None,
    )
    price = await insert_price_version(
        conn,
        price_book="standard",
        effective_time=datetime.now(UTC),
        document=PRICE,
    )
    return price.price_id


def _new_job(price_id: PriceId, *, image_count: int, tier: Tier) -> NewJob:
    image = NewImage(spec=SPEC, hold_nanos=PRICE_NANOS, labels={})
    return NewJob(
        tenant_id=ACME,
        key_id=KeyId("k1"),
        display_name="",
        tier=tier,
        project="",
        labels={},
        price_id=price_id,
        currency="EUR",
        images=(image,) * image_count,
    )


async def _finish(conn: AsyncConnection, key: AttemptKey, outcome: str) -> finishes.FinishAnswer:
    match outcome:
        case "picture":
            return await finishes.succeed_image(conn, _drawn(key), PICTURE)
        case "failed":
            return await finishes.fail_image(
                conn, key, began_step=True, failure_reason="BROKEN", failure_message="It broke."
            )
        case "cancelled":
            return await finishes.confirm_cancel(conn, key, began_step=True)
        case _:
            return await finishes.hand_back(conn, key, began_step=False)


PICTURE = NewPicture(
    sha256="0" * 64,
    byte_count=1,
    content_type="image/png",
    width=64,
    height=64,
    spool_name="x",
)


def _drawn(key: AttemptKey) -> DrawnAttempt:
    return DrawnAttempt(
        key=key,
        session_id=SessionId("s1"),
        gpu_id=GpuId("cpu-0"),
        precision="fp32",
        batch_shares=(),
        gpu_seconds=1.0,
        queue_seconds=0.0,
        last_mark_number=1,
        energy=DrawnEnergy(millijoules=1, error_millijoules=0, source=EnergySource.ESTIMATED),
    )


def running_attempt(key: AttemptKey) -> RunningAttempt:
    return RunningAttempt(key=key, begun=True, step=1, step_count=4, preview=None)


def worker_of(session: str) -> WorkerIdentity:
    return WorkerIdentity(session_id=SessionId(session), gpu_id=GpuId("cpu-0"), model="mini")
