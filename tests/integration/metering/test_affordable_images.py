"""Many submitters at once, credit and nested budgets for some of what they want: exactly those."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from psycopg_pool import PoolTimeout

from database.pool import Pool, tenant_transaction, transaction
from metering import accounts, ledger, ledger_reading
from metering.budgets import BudgetEnforcement, BudgetPeriod, NewBudget, list_budgets, set_budget
from metering.errors import BudgetExceededError, InsufficientBalanceError
from metering.invariants import check_invariants
from metering.price_book import insert_price_version
from metering.price_document import Component, PriceComponent, PriceDocument, Tier
from services.jobs import job_store
from services.jobs.records import NewImage, NewJob
from tenants.ids import KeyId, PriceId, TenantId
from tenants.tenant_store import NewTenant, insert_tenant
from tests.integration.fixture_types import Pools
from tests.integration.metering.shop import image_spec

IMAGE_NANOS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rush:
    """One tenant, whose submitters all want an image at once, again and again."""

    tenant_id: TenantId
    price_id: PriceId
    pool: Pool

    async def submit(self) -> str:
        """Order one image; returns what became of the order."""
        job = NewJob(
            tenant_id=self.tenant_id,
            key_id=KeyId("k1"),
            display_name="",
            tier=Tier.BATCH,
            project="spring",
            labels={},
            price_id=self.price_id,
            currency="EUR",
            images=(NewImage(spec=image_spec(), hold_nanos=IMAGE_NANOS, labels={}),),
        )
        try:
            async with tenant_transaction(self.pool, self.tenant_id) as conn:
                await job_store.create_job(conn, job)
        except InsufficientBalanceError:
            return "wallet"
        except BudgetExceededError as error:
            return error.budget_id
        return "accepted"

    async def _submit_until_served(self) -> str:
        """Five hundred share eight connections: whoever waited too long asks again."""
        while True:
            with suppress(PoolTimeout):
                return await self.submit()

    async def submit_all(self, *, submitters: int, images: int) -> Counter[str]:
        """Let each submitter order its share, one image after the other, all at once."""
        shares = [images // submitters + (n < images % submitters) for n in range(submitters)]

        async def order(count: int) -> list[str]:
            return [await self._submit_until_served() for _ in range(count)]

        answers = await asyncio.gather(*(order(count) for count in shares))
        return Counter(answer for share in answers for answer in share)


async def open_rush(pools: Pools, pool: Pool, tenant_id: str, limits: dict[str, int]) -> Rush:
    """A tenant whose wallet and three nested budgets cover so many images each."""
    tenant = TenantId(tenant_id)
    async with pools("atelier_operator") as operator, transaction(operator) as conn:
        await insert_tenant(conn, NewTenant(tenant_id=tenant, display_name="A", currency="EUR"))
        await accounts.open_accounts(conn, tenant_id=tenant, currency="EUR")
        await ledger.grant_credit(
            conn,
            tenant_id=tenant,
            amount_nanos=limits["wallet"] * IMAGE_NANOS,
            currency="EUR",
            description="",
            request_id=None,
        )
        price = await insert_price_version(
            conn, price_book=tenant_id, effective_time=datetime.now(UTC), document=PRICE
        )
    async with tenant_transaction(pool, tenant) as conn:
        for budget_id, project, key_id in (
            ("tenant", "", ""),
            ("project", "spring", ""),
            ("the-key", "", "k1"),
        ):
            await set_budget(
                conn,
                NewBudget(
                    tenant_id=tenant,
                    budget_id=budget_id,
                    project=project,
                    key_id=KeyId(key_id),
                    period=BudgetPeriod.TOTAL,
                    enforcement=BudgetEnforcement.HARD,
                    limit_nanos=limits[budget_id] * IMAGE_NANOS,
                    currency="EUR",
                ),
            )
    return Rush(tenant_id=tenant, price_id=price.price_id, pool=pool)


PRICE = PriceDocument(
    currency="EUR",
    components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=IMAGE_NANOS),),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many submit at once, how many images they want, and how many can be afforded."""

    submitters: int
    wanted: int = 2_048
    affordable: int = 500


LONG_CROWDS = [
    pytest.param(
        Crowd(submitters=submitters), seed, marks=pytest.mark.long, id=f"{submitters}-seed-{seed}"
    )
    for submitters in (64, 500)
    for seed in range(1, 11)
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("crowd", "seed"), [(Crowd(submitters=64, wanted=192, affordable=47), 1), *LONG_CROWDS]
)
async def test_exactly_the_affordable_images_are_accepted(
    pools: Pools, fresh_tenant_id: str, crowd: Crowd, seed: int
) -> None:
    # Which of the four is the narrowest differs from seed to seed; the others have room to spare.
    chance = random.Random(seed)
    names = ["wallet", "tenant", "project", "the-key"]
    limits = {name: crowd.affordable + chance.randint(1, 300) for name in names}
    limits[chance.choice(names)] = crowd.affordable
    async with pools("atelier_gateway") as pool:
        rush = await open_rush(pools, pool, fresh_tenant_id, limits)

        answers = await rush.submit_all(submitters=crowd.submitters, images=crowd.wanted)

        async with tenant_transaction(pool, rush.tenant_id) as conn:
            balance = await ledger_reading.get_balance(
                conn, tenant_id=rush.tenant_id, currency="EUR"
            )
            budgets = await list_budgets(conn, tenant_id=rush.tenant_id, limit=10)
            violations = await check_invariants(conn)
    assert answers["accepted"] == crowd.affordable
    assert answers.total() == crowd.wanted
    assert balance is not None
    assert balance.held_nanos == crowd.affordable * IMAGE_NANOS
    assert balance.available_nanos == (limits["wallet"] - crowd.affordable) * IMAGE_NANOS
    assert {budget.held_nanos for budget in budgets} == {crowd.affordable * IMAGE_NANOS}
    assert not any(violations.values()), violations
