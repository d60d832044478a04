"""Budgets: bounds on what a tenant, a project or a key may spend in a period, or for good.

A budget is a guarded counter like the wallet: its CHECK constraint refuses the update that would go
over, in the transaction that accepts the job. Soft budgets count and alert and refuse nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.budget_periods import begin_other_period, change_running_counters
from metering.errors import BudgetExceededError, BudgetLimitError
from tenants.ids import JobId, KeyId, TenantId

if TYPE_CHECKING:
    from metering.holds import Hold

_QUERIES: Final = load_queries(__file__)
ALERT_PERCENTS: Final = [50, 80, 100]
# Each acceptance locks and counts every budget that fits its job.
BUDGETS_MAX: Final = 100


class BudgetPeriod(StrEnum):
    """The time a budget holds for, in the tenant's time zone."""

    DAY = "DAY"
    MONTH = "MONTH"
    TOTAL = "TOTAL"


class BudgetEnforcement(StrEnum):
    """Whether a job that a budget does not cover is refused."""

    HARD = "HARD"
    SOFT = "SOFT"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBudget:
    """A budget as it is wished for; project and key are empty when it is for every one."""

    tenant_id: TenantId
    budget_id: str
    project: str
    key_id: KeyId
    period: BudgetPeriod
    enforcement: BudgetEnforcement
    limit_nanos: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAlert:
    """A share of the limit that was reached; told once in each period."""

    percent: int
    used_nanos: int
    limit_nanos: int
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(NewBudget):
    """A budget with what its running period has used of it."""

    held_nanos: int
    spent_nanos: int
    alerts: tuple[BudgetAlert, ...]

    def refuses(self, amount_nanos: int) -> bool:
        """Whether a job that may cost so much would be refused."""
        used_nanos = self.held_nanos + self.spent_nanos
        is_hard = self.enforcement is BudgetEnforcement.HARD
        return is_hard and amount_nanos > 0 and used_nanos + amount_nanos > self.limit_nanos


async def set_budget(conn: AsyncConnection, budget: NewBudget) -> Budget:
    """Make a budget, or replace the one of its name; what it has counted stays counted.

    When its kind of period becomes another, the new period's counter has all jobs that the budget
    counted since that period began. What a lower limit is below of is told at once.

    Raises:
        BudgetLimitError: the tenant has as many budgets as it may.
    """
    parameters = asdict(budget)
    await conn.execute(_QUERIES["take_turns"], parameters)
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["count_budgets"], parameters)
        others: int | None = await cursor.fetchone()
        if (others or 0) >= BUDGETS_MAX:
            raise BudgetLimitError(f"a tenant has at most {BUDGETS_MAX} budgets")
        await cursor.execute(_QUERIES["lock_budget"], parameters)
        period_before: str | None = await cursor.fetchone()
    await conn.execute(_QUERIES["set_budget"], parameters)
    if period_before not in {None, budget.period}:
        await begin_other_period(conn, parameters)
    await change_running_counters(conn, parameters, alert_percents=ALERT_PERCENTS)
    (made,) = await list_budgets(
        conn, tenant_id=budget.tenant_id, budget_id=budget.budget_id, limit=1
    )
    return made


async def list_budgets(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    limit: int,
    after: str = "",
    budget_id: str | None = None,
) -> list[Budget]:
    """List a tenant's budgets by id, after one."""
    async with conn.cursor(row_factory=typed_row(Budget)) as cursor:
        await cursor.execute(
            _QUERIES["list_budgets"],
            {"tenant_id": tenant_id, "after": after, "budget_id": budget_id, "limit": limit},
        )
        return await cursor.fetchall()


async def hold_in_budgets(
    conn: AsyncConnection, *, tenant_id: TenantId, job_id: JobId, amount_nanos: int
) -> None:
    """Count a new job's holds in every budget that fits it; call it before the wallet is locked.

    Raises:
        BudgetExceededError: a hard budget does not cover them; roll the transaction back.
    """
    budget_ids = await _lock_budgets(conn, job_id)
    if not budget_ids:
        return
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["hold_in_budgets"],
            {
                "job_id": job_id,
                "budget_ids": budget_ids,
                "amount_nanos": amount_nanos,
                "percents": ALERT_PERCENTS,
            },
        )
        refusing: str | None = await cursor.fetchone()
    if refusing is not None:
        raise BudgetExceededError(
            tenant_id=tenant_id, budget_id=refusing, needed_nanos=amount_nanos
        )


async def lock_counters(conn: AsyncConnection, job_ids: Sequence[JobId]) -> bool:
    """Lock the counters that carry jobs' holds, in their order; False when there are none."""
    locked = await conn.execute(_QUERIES["lock_counters_of_jobs"], {"job_ids": list(job_ids)})
    return locked.rowcount > 0


async def resolve_in_budgets(
    conn: AsyncConnection, holds: Sequence["Hold"], *, charged_nanos: int = 0
) -> None:
    """Free holds in the budgets that carry them; ``charged_nanos`` of the first is spent.

    What is charged is never more than what was held, so no budget goes over and none alerts here.
    """
    job_ids = [hold.job_id for hold in holds]
    if not await lock_counters(conn, job_ids):
        return
    await conn.execute(
        _QUERIES["resolve_in_budgets"],
        {
            "job_ids": job_ids,
            "holds_nanos": [hold.amount_nanos for hold in holds],
            "charges_nanos": [charged_nanos, *([0] * (len(holds) - 1))],
        },
    )


async def _lock_budgets(conn: AsyncConnection, job_id: JobId) -> list[str]:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["lock_budgets_of_job"], {"job_id": job_id})
        return await cursor.fetchall()
