"""Accepting a job: price pinned, ceiling held, images queued, all in one transaction."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from database.pool import Connection
from metering import ledger_reading
from metering.budgets import BUDGETS_MAX, list_budgets
from metering.errors import AmountOverflowError, BudgetExceededError, ModelNotPricedError
from metering.period_counters import read_counts
from metering.period_counts import NOTHING_COUNTED, PeriodCounts
from metering.periods import BillingPeriod
from metering.price_book import PriceVersion, current_price
from metering.price_document import Tier
from metering.rating import OrderedImage, ceiling_nanos
from services.gateway import errors, resource_names
from services.gateway.callers import Caller
from services.gateway.job_plan import PlannedImage
from services.jobs import job_store
from services.jobs.records import Job, NewImage, NewJob
from tenants.ids import JobId
from tenants.tenant_store import Tenant, TenantState, get_tenant, get_tenant_to_order

# A job's ceiling is one number in the ledger's accounts.
_HOLD_NANOS_MAX: Final = 2**62
# Images that wait longer may end at the tiers of a new period, which begin anew.
_LONGEST_WAIT: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A job as its tenant wants it, checked against models."""

    display_name: str
    tier: Tier
    project: str
    labels: Mapping[str, str]
    images: tuple[PlannedImage, ...]
    max_cost_nanos: int | None
    max_cost_currency: str
    deadline_time: datetime | None
    retry_of: JobId | None = None
    # Where a violation of max_cost is told.
    max_cost_field: str = "job.max_cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a wish may cost at most, image by image, under the price that holds now."""

    price: PriceVersion
    ceilings_nanos: tuple[int, ...]

    @property
    def total_nanos(self) -> int:
        """The ceiling of the whole job."""
        return sum(self.ceilings_nanos)


async def tenant_of_caller(conn: Connection, caller: Caller) -> Tenant:
    """Read the caller's tenant."""
    tenant = await get_tenant(conn, caller.tenant_id)
    if tenant is None:
        # It was there when the key was looked up, less than a second ago.
        raise errors.not_found(resource_names.TENANT.write(caller.tenant_id))
    return tenant


async def tenant_who_orders(conn: Connection, caller: Caller) -> Tenant:
    """Read the caller's tenant as it is now, which may have been suspended since it was looked up.

    Raises:
        CallRefusedError: TENANT_SUSPENDED; who is suspended may be deleted at any moment.
    """
    tenant = await get_tenant_to_order(conn, caller.tenant_id)
    if tenant is None:
        raise errors.not_found(resource_names.TENANT.write(caller.tenant_id))
    if tenant.state != TenantState.ACTIVE:
        raise errors.tenant_suspended()
    return tenant


async def quote(conn: Connection, tenant: Tenant, wish: Wish, *, now: datetime) -> Quote:
    """Tell what a wish may cost at most.

    Raises:
        CallRefusedError: no price is in effect, or the ceiling is above the wish's own max_cost.
    """
    price = await current_price(
        conn, price_book=tenant.price_book, currency=tenant.currency, at=now
    )
    if price is None:
        raise errors.price_missing()
    counted = await _surely_counted(conn, tenant, price, now=now)
    quoted = Quote(
        price=price,
        ceilings_nanos=tuple(_ceiling(price, image, wish.tier, counted) for image in wish.images),
    )
    _check_max_cost(quoted, wish)
    return quoted


async def accept(
    conn: Connection, tenant: Tenant, wish: Wish, *, caller: Caller, now: datetime
) -> Job:
    """Store the job with its holds in the caller's transaction.

    Raises:
        CallRefusedError: as in quote, or QUEUE_FULL.
        InsufficientBalanceError: the wallet does not cover the ceiling.
    """
    quoted = await quote(conn, tenant, wish, now=now)
    job = await job_store.create_job(conn, _new_job(tenant, wish, quoted, caller=caller))
    # Counted after the wallet's row is locked, which lets a tenant's acceptances pass one by one:
    # counted before, two at a time would each find room.
    if await job_store.count_queued_images(conn, tenant.tenant_id) > tenant.queued_images_max:
        raise errors.queue_full(
            subject=resource_names.TENANT.write(tenant.tenant_id),
            queued_images_max=tenant.queued_images_max,
        )
    return job


async def check_budgets(conn: Connection, wish: Wish, *, caller: Caller, needed_nanos: int) -> None:
    """Say what acceptance would say of the budgets, without holding anything.

    Raises:
        BudgetExceededError: the first hard one, by name, that does not cover it.
    """
    for budget in await list_budgets(conn, tenant_id=caller.tenant_id, limit=BUDGETS_MAX):
        fits = budget.project in {"", wish.project} and budget.key_id in {"", caller.key_id}
        if fits and budget.refuses(needed_nanos):
            raise BudgetExceededError(
                tenant_id=caller.tenant_id, budget_id=budget.budget_id, needed_nanos=needed_nanos
            )


async def check_balance(conn: Connection, tenant: Tenant, needed_nanos: int) -> None:
    """Say what acceptance would say of the wallet, without holding anything.

    Raises:
        CallRefusedError: INSUFFICIENT_BALANCE.
    """
    balance = await ledger_reading.get_balance(
        conn, tenant_id=tenant.tenant_id, currency=tenant.currency
    )
    available_nanos = balance.available_nanos if balance else 0
    if needed_nanos > available_nanos:
        raise errors.insufficient_balance(
            needed_nanos=needed_nanos, currency=tenant.currency, available_nanos=available_nanos
        )


def tokens_of(wish: Wish) -> Counter[str]:
    """Count the images of each model: what has to be published."""
    return Counter(image.spec.model for image in wish.images)


async def _surely_counted(
    conn: Connection, tenant: Tenant, price: PriceVersion, *, now: datetime
) -> PeriodCounts:
    """What stays counted until the images end; nothing when a new period may begin before."""
    if not price.document.has_tiers:
        return NOTHING_COUNTED
    period = BillingPeriod.containing(now, time_zone=tenant.time_zone)
    if period.end_time - now < _LONGEST_WAIT:
        return NOTHING_COUNTED
    return await read_counts(conn, tenant_id=tenant.tenant_id, period_start=period.start_time)


def _ceiling(price: PriceVersion, image: PlannedImage, tier: Tier, counted: PeriodCounts) -> int:
    ordered = OrderedImage(
        model=image.spec.model,
        tier=tier,
        width=image.spec.width,
        height=image.spec.height,
        num_inference_steps=image.spec.num_inference_steps,
    )
    try:
        return ceiling_nanos(price.document, ordered, counted)
    except ModelNotPricedError:
        raise errors.price_missing() from None
    except AmountOverflowError:
        # No wallet can hold what the ledger cannot even write.
        raise errors.insufficient_balance(
            needed_nanos=_HOLD_NANOS_MAX, currency=price.currency
        ) from None


def _check_max_cost(quoted: Quote, wish: Wish) -> None:
    if quoted.total_nanos > _HOLD_NANOS_MAX:
        raise errors.insufficient_balance(
            needed_nanos=quoted.total_nanos, currency=quoted.price.currency
        )
    if wish.max_cost_nanos is None:
        return
    if wish.max_cost_currency != quoted.price.currency:
        raise errors.invalid_field(
            f"{wish.max_cost_field}.currency_code", f"must be {quoted.price.currency}"
        )
    if quoted.total_nanos > wish.max_cost_nanos:
        raise errors.max_cost_exceeded(
            ceiling_nanos=quoted.total_nanos, currency=quoted.price.currency
        )


def _new_job(tenant: Tenant, wish: Wish, quoted: Quote, *, caller: Caller) -> NewJob:
    return NewJob(
        tenant_id=tenant.tenant_id,
        key_id=caller.key_id,
        display_name=wish.display_name,
        tier=wish.tier,
        project=wish.project,
        labels=wish.labels,
        price_id=quoted.price.price_id,
        currency=quoted.price.currency,
        images=tuple(
            NewImage(
                spec=image.spec, hold_nanos=hold, labels=image.labels, client_ref=image.client_ref
            )
            for image, hold in zip(wish.images, quoted.ceilings_nanos, strict=True)
        ),
        max_cost_nanos=wish.max_cost_nanos,
        deadline_time=wish.deadline_time,
        retry_of=wish.retry_of,
    )
