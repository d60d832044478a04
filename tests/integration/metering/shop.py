"""A shop on the real tables: tenants with a price and credit, whose images are drawn by hand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from psycopg import AsyncConnection

from metering import accounts, ledger
from metering.budgets import Budget, BudgetEnforcement, BudgetPeriod, NewBudget, set_budget
from metering.energy_source import EnergySource
from metering.invoice_document import Invoice, Party
from metering.invoice_drafts import Issuer
from metering.invoice_finalization import finalize_invoice
from metering.price_book import PriceVersion, insert_price_version
from metering.price_document import (
    CeilingBound,
    Component,
    PriceComponent,
    PriceDocument,
    TaxRate,
    Tier,
    TierMultiplier,
)
from metering.rating import OrderedImage, ceiling_nanos
from metering.usage_records import BatchShare
from services.jobs import claims, finishes, job_store, worker_session_store
from services.jobs.charging import DrawnAttempt, DrawnEnergy
from services.jobs.picture_store import NewPicture
from services.jobs.records import ClaimedImage, ImageSpec, NewImage, NewJob, WorkerIdentity
from services.jobs.worker_session_store import Heartbeat
from tenants.ids import GpuId, ImageId, JobId, KeyId, SessionId, TenantId
from tenants.tenant_store import NewTenant, Tenant, insert_tenant, lock_tenant
from tests.integration.fixture_types import Become

MODEL = "mini"
ISSUER = Issuer(seller=Party(legal_name="Nordlicht GmbH", postal_address="Hamburg", vat_id="DE1"))
PRICE = PriceDocument(
    currency="EUR",
    components=(
        PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=1_000_001),
        PriceComponent(kind=Component.PER_GPU_SECOND, unit_price_nanos=333_333),
        PriceComponent(kind=Component.PER_KWH, unit_price_nanos=250_000_000),
    ),
    tier_multipliers=(TierMultiplier(tier=Tier.BATCH, multiplier_millionths=500_000),),
    tax_rates=(TaxRate(display_name="VAT 19 %", rate_millionths=190_000),),
    ceiling_bounds=(CeilingBound(gpu_milliseconds_fixed=10_000, energy_millijoules_fixed=10**7),),
    charge_estimated_energy=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """One tenant, its worker and the price it buys at, in the test's transaction."""

    connection: AsyncConnection
    become: Become
    tenant: Tenant
    price: PriceVersion

    @property
    def tenant_id(self) -> TenantId:
        return self.tenant.tenant_id

    async def as_role(self, role: str | None) -> None:
        await self.become(self.connection, role, tenant_id=self.tenant_id)

    async def with_price(self, document: PriceDocument) -> "Shop":
        """The same shop, where a newer version of its price holds from now on."""
        await self.become(self.connection, None)
        version = await insert_price_version(
            self.connection,
            price_book=self.tenant.price_book,
            effective_time=self.price.effective_time + timedelta(microseconds=1),
            document=document,
        )
        return replace(self, price=version)

    async def accept(
        self,
        *,
        images: int = 1,
        tier: Tier = Tier.BATCH,
        project: str = "",
        key_id: str = "k1",
        width: int = 64,
        labels: Mapping[str, str] | None = None,
    ) -> JobId:
        await self.as_role("atelier_gateway")
        hold_nanos = ceiling_nanos(
            self.price.document,
            OrderedImage(model=MODEL, tier=tier, width=width, height=64, num_inference_steps=4),
        )
        image = NewImage(
            spec=image_spec(width=width), hold_nanos=hold_nanos, labels=dict(labels or {})
        )
        job = await job_store.create_job(
            self.connection,
            NewJob(
                tenant_id=self.tenant_id,
                key_id=KeyId(key_id),
                display_name="",
                tier=tier,
                project=project,
                labels={},
                price_id=self.price.price_id,
                currency="EUR",
                images=(image,) * images,
            ),
        )
        return job.job_id

    async def set_budget(
        self,
        budget_id: str = "all",
        *,
        limit_nanos: int = 10_000_000_000,
        project: str = "",
        key_id: str = "",
        period: BudgetPeriod = BudgetPeriod.MONTH,
        enforcement: BudgetEnforcement = BudgetEnforcement.HARD,
    ) -> Budget:
        await self.as_role("atelier_gateway")
        return await set_budget(
            self.connection,
            NewBudget(
                tenant_id=self.tenant_id,
                budget_id=budget_id,
                project=project,
                key_id=KeyId(key_id),
                period=period,
                enforcement=enforcement,
                limit_nanos=limit_nanos,
                currency="EUR",
            ),
        )

    async def claim(self) -> ClaimedImage:
        await self.as_role("atelier_recorder")
        worker = WorkerIdentity(
            session_id=SessionId(f"{self.tenant_id}-s1"), gpu_id=GpuId("cpu-0"), model=MODEL
        )
        await worker_session_store.heartbeat(
            self.connection,
            Heartbeat(
                worker=worker,
                process_id=1,
                ready=True,
                waiting_tokens=0,
                batch_slots_free=1,
                interactive_slots_free=1,
                engine_step_counter=0,
                running=(),
            ),
            tenant_id=self.tenant_id,
            lease_seconds=15,
        )
        claimed = await claims.claim_image(
            self.connection,
            worker,
            tenant_id=self.tenant_id,
            interactive_only=False,
            nothing_in_flight=True,
        )
        assert claimed is not None
        return claimed

    async def draw(
        self,
        claimed: ClaimedImage,
        *,
        gpu_seconds: float = 1.5,
        energy_millijoules: int = 9_000,
        energy_source: EnergySource = EnergySource.ESTIMATED,
    ) -> ImageId:
        await self.as_role("atelier_recorder")
        answer = await finishes.succeed_image(
            self.connection,
            DrawnAttempt(
                key=claimed.attempt,
                session_id=SessionId(f"{self.tenant_id}-s1"),
                gpu_id=GpuId("cpu-0"),
                precision="fp32 cpu",
                batch_shares=(BatchShare(batch_size=2, step_count=3),),
                gpu_seconds=gpu_seconds,
                queue_seconds=0.1,
                last_mark_number=3,
                energy=DrawnEnergy(
                    millijoules=energy_millijoules, error_millijoules=400, source=energy_source
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
        assert answer.accepted
        return claimed.attempt.image_id

    async def sell(self, *, images: int = 1, tier: Tier = Tier.BATCH, project: str = "") -> JobId:
        """Accept a job and draw all of it; each image costs 750,312 nanos in BATCH."""
        job_id = await self.accept(images=images, tier=tier, project=project)
        for _ in range(images):
            await self.draw(await self.claim())
        return job_id

    async def fail(self) -> ImageId:
        """Accept an image that the engine then gives up on."""
        await self.accept()
        claimed = await self.claim()
        await finishes.fail_image(
            self.connection,
            claimed.attempt,
            failure_reason="OUT_OF_MEMORY",
            failure_message="",
            began_step=True,
        )
        return claimed.attempt.image_id

    async def move_charges(self, job_id: JobId, time: datetime) -> None:
        """Let a job have been charged at another time: all that the ledger wrote of it."""
        await self.without_guards(
            "UPDATE usage_records SET charge_time = %s WHERE job_id = %s", time, job_id
        )
        await self.without_guards(
            "UPDATE transfers SET create_time = %s WHERE job_id = %s", time, job_id
        )

    async def finalize(self, invoice_id: str, *, now: datetime) -> Invoice:
        """Finalize a month as the operator, a day after its end at the earliest."""
        await self.as_role("atelier_operator")
        tenant = await lock_tenant(self.connection, self.tenant_id)
        assert tenant is not None
        return await finalize_invoice(
            self.connection,
            tenant,
            invoice_id=invoice_id,
            issuer=ISSUER,
            grace=timedelta(hours=24),
            now=now,
        )

    async def open_since(self, time: datetime) -> None:
        """Let the tenant have been there for longer."""
        await self.without_guards(
            "UPDATE tenants SET create_time = %s WHERE tenant_id = %s", time, self.tenant_id
        )

    async def grant_early(self, time: datetime) -> None:
        """Let the tenant's credit have been granted at another time."""
        await self.without_guards(
            "UPDATE transfers SET create_time = %s "
            "WHERE tenant_id = %s AND reason = 'CREDIT_GRANT'",
            time,
            self.tenant_id,
        )

    async def without_guards(self, statement: LiteralString, *parameters: object) -> None:
        """Change rows behind the triggers and foreign keys, as nobody can at run time."""
        await self.become(self.connection, None)
        await self.connection.execute("SET LOCAL session_replication_role = replica")
        await self.connection.execute(statement, parameters)
        await self.connection.execute("SET LOCAL session_replication_role = origin")


async def open_shop(
    connection: AsyncConnection,
    become: Become,
    *,
    tenant_id: str,
    time_zone: str = "Europe/Berlin",
    price: PriceDocument = PRICE,
    credit_nanos: int = 10_000_000_000,
) -> Shop:
    """Make a tenant with credit (10 EUR) and a price in a book of its own."""
    await become(connection, None)
    tenant = await insert_tenant(
        connection,
        NewTenant(
            tenant_id=TenantId(tenant_id),
            display_name="Acme",
            currency="EUR",
            price_book=tenant_id,
            time_zone=time_zone,
            legal_name="ACME Kitchenware B.V.",
        ),
    )
    await accounts.open_accounts(connection, tenant_id=tenant.tenant_id, currency="EUR")
    if credit_nanos:
        await ledger.grant_credit(
            connection,
            tenant_id=tenant.tenant_id,
            amount_nanos=credit_nanos,
            currency="EUR",
            description="welcome",
            request_id=None,
        )
    version = await insert_price_version(
        connection,
        price_book=tenant.price_book,
        effective_time=datetime.now(UTC),
        document=price,
    )
    return Shop(connection=connection, become=become, tenant=tenant, price=version)


def image_spec(*, width: int = 64) -> ImageSpec:
    return ImageSpec(
        model=MODEL,
        prompt="a red mug",
        negative_prompt="",
        width=width,
        height=64,
        num_inference_steps=4,
        guidance_scale=4.5,
        seed=7,
        max_sequence_length=77,
        output_format="PNG",
        output_quality=90,
    )
