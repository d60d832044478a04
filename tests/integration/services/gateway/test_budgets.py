"""Budgets at the door: made by the tenant's admin, kept by acceptance, told of in the answer."""

from typing import Any

import pytest

from atelier.v1 import billing_service_pb2, money_pb2
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    refusal,
    spec,
)

pytestmark = pytest.mark.integration

IMAGE_NANOS = 1_000_000


def wish(budget_id: str = "all", *, nanos: int, **budget: Any) -> Any:
    return billing_service_pb2.SetBudgetRequest(
        budget=billing_service_pb2.Budget(
            name=f"tenants/-/budgets/{budget_id}",
            period=budget.pop("period", billing_service_pb2.BUDGET_PERIOD_MONTH),
            limit=money_pb2.Money(currency_code=budget.pop("currency", "USD"), nanos=nanos),
            **budget,
        )
    )


async def budgets_of(studio: Studio) -> list[billing_service_pb2.Budget]:
    request = billing_service_pb2.ListBudgetsRequest(parent="tenants/-")
    return list((await studio.admin.billing.ListBudgets(request)).budgets)


@pytest.fixture
async def studio(gateway: ServedGateway) -> Studio:
    return await gateway.new_tenant()


async def test_a_budget_is_kept_and_told_of(studio: Studio) -> None:
    made = await studio.admin.billing.SetBudget(wish(nanos=4 * IMAGE_NANOS))

    await studio.member.jobs.CreateJob(create_job(spec(3)))

    (budget,) = await budgets_of(studio)
    assert made.name == f"tenants/{studio.tenant_id}/budgets/all"
    assert made.enforcement == billing_service_pb2.BUDGET_ENFORCEMENT_HARD
    assert (budget.held.nanos, budget.spent.nanos) == (3 * IMAGE_NANOS, 0)
    assert [(alert.percent, alert.used.nanos) for alert in budget.alerts] == [(50, 3 * IMAGE_NANOS)]


async def test_a_job_that_a_budget_does_not_cover_is_refused_by_its_name(studio: Studio) -> None:
    await studio.admin.billing.SetBudget(wish("spring", nanos=2 * IMAGE_NANOS, project="spring"))
    name = f"tenants/{studio.tenant_id}/budgets/spring"

    refused = await refusal(studio.member.jobs.CreateJob(create_job(spec(3))))
    dry_run = create_job(spec(3))
    dry_run.validate_only = True
    refused_beforehand = await refusal(studio.member.jobs.CreateJob(dry_run))

    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "BUDGET_EXCEEDED")
    assert refused.metadata == {"budget": name}
    assert refused.quota_subjects == [name]
    assert refused.retry_seconds is None
    assert refused_beforehand.metadata == {"budget": name}
    assert (await budgets_of(studio))[0].held.nanos == 0


async def test_budgets_are_for_admins(studio: Studio) -> None:
    refused = await refusal(studio.member.billing.SetBudget(wish(nanos=1)))

    assert refused.reason == "ROLE_REQUIRED"


async def test_a_budget_of_another_tenants_key_or_currency_is_refused(
    gateway: ServedGateway, studio: Studio
) -> None:
    other = await gateway.new_tenant()

    foreign_key = await refusal(
        studio.admin.billing.SetBudget(
            wish(nanos=1, api_key=f"tenants/{other.tenant_id}/apiKeys/abc")
        )
    )
    foreign_money = await refusal(studio.admin.billing.SetBudget(wish(nanos=1, currency="EUR")))
    foreign_name = wish(nanos=1)
    foreign_name.budget.name = f"tenants/{other.tenant_id}/budgets/all"
    foreign = await refusal(studio.admin.billing.SetBudget(foreign_name))

    assert foreign_key.reason == "RESOURCE_NOT_FOUND"
    assert foreign_money.fields == ["budget.limit.currency_code"]
    assert foreign.reason == "RESOURCE_NOT_FOUND"


async def test_negative_limits_and_periods_that_are_none_are_refused(studio: Studio) -> None:
    negative = await refusal(studio.admin.billing.SetBudget(wish(nanos=-1)))
    no_period = await refusal(studio.admin.billing.SetBudget(wish(nanos=1, period=0)))

    assert negative.fields == ["budget.limit"]
    assert no_period.fields == ["budget.period"]
