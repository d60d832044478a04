"""Price versions at the door: tiers, discounts and a minimum are kept as they were sent."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from atelier.v1 import billing_service_pb2, money_pb2, price_pb2, tenant_service_pb2
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    create_job,
    flat_price,
    refusal,
    spec,
)

pytestmark = pytest.mark.integration


def tiered_price(*ends: int) -> price_pb2.PriceVersion:
    price = flat_price()
    price.price_book = f"book-{uuid4().hex[:12]}"
    (part,) = price.components
    part.tier_mode = price_pb2.TIER_MODE_VOLUME
    del part.tiers[:]
    part.tiers.extend(
        price_pb2.PriceTier(up_to_quantity=end, unit_price_nanos=1_000 // (n + 1))
        for n, end in enumerate(ends)
    )
    return price


def wish(price: price_pb2.PriceVersion) -> billing_service_pb2.CreatePriceVersionRequest:
    return billing_service_pb2.CreatePriceVersionRequest(
        price_version=price, request_id=str(uuid4())
    )


async def test_a_price_reads_back_as_it_was_made(gateway: ServedGateway) -> None:
    price = tiered_price(10, 100, 0)
    price.minimum_per_period.CopyFrom(money_pb2.Money(currency_code="USD", nanos=5))
    price.discounts.add(display_name="Loyal", rate_millionths=50_000, threshold_nanos=7)

    made = await gateway.operator.billing.CreatePriceVersion(wish(price))

    assert made.components == price.components
    assert made.minimum_per_period == price.minimum_per_period
    assert made.discounts == price.discounts


async def test_a_job_holds_the_dearest_tier(gateway: ServedGateway) -> None:
    price = tiered_price(1, 0)
    await gateway.operator.billing.CreatePriceVersion(wish(price))
    studio = await gateway.new_tenant(price_book=price.price_book)

    job = await studio.member.jobs.CreateJob(create_job(spec(3)))

    assert job.hold.nanos == 3 * 1_000


def with_foreign_minimum() -> price_pb2.PriceVersion:
    price = tiered_price(0)
    price.minimum_per_period.CopyFrom(money_pb2.Money(currency_code="EUR", nanos=5))
    return price


@pytest.mark.parametrize(
    ("price", "field"),
    [
        (lambda: tiered_price(10, 10, 0), "price_version.components.tiers"),
        (lambda: tiered_price(20, 10, 0), "price_version.components.tiers"),
        (lambda: tiered_price(0, 10), "price_version.components.tiers"),
        # Above 10 nothing would have a price: a gap.
        (lambda: tiered_price(10), "price_version.components[0]"),
        (lambda: tiered_price(0, 0), "price_version.components[0]"),
        (with_foreign_minimum, "price_version.minimum_per_period.currency_code"),
    ],
    ids=["twice", "overlap", "open tier first", "gap", "two open", "currencies mixed"],
)
async def test_a_price_with_a_gap_or_an_overlap_is_refused(
    gateway: ServedGateway, price: Callable[[], price_pb2.PriceVersion], field: str
) -> None:
    refused = await refusal(gateway.operator.billing.CreatePriceVersion(wish(price())))

    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", [field])


async def test_two_versions_of_a_book_from_the_same_time_are_refused(
    gateway: ServedGateway,
) -> None:
    price = tiered_price(0)
    price.effective_time.FromJsonString("2099-01-01T00:00:00Z")
    await gateway.operator.billing.CreatePriceVersion(wish(price))

    refused = await refusal(gateway.operator.billing.CreatePriceVersion(wish(price)))

    assert refused.reason == "RESOURCE_EXISTS"


async def test_the_running_month_is_simulated_under_a_draft(gateway: ServedGateway) -> None:
    studio = await gateway.new_tenant()
    price = tiered_price(0)
    price.minimum_per_period.CopyFrom(money_pb2.Money(currency_code="USD", nanos=10_000_000))
    (invoice, *_) = (
        await studio.admin.billing.ListInvoices(
            billing_service_pb2.ListInvoicesRequest(parent="tenants/-")
        )
    ).invoices
    question = billing_service_pb2.SimulatePriceRequest(
        parent=f"tenants/{studio.tenant_id}", billing_period=invoice.name[-7:], draft=price
    )

    answer = await gateway.operator.billing.SimulatePrice(question)
    refused = await refusal(studio.admin.billing.SimulatePrice(question))

    # Nothing was used: what is left of the price is its minimum.
    assert (answer.total.nanos, answer.actual_total.nanos) == (10_000_000, 0)
    assert refused.reason == "ROLE_REQUIRED"


async def test_a_ledger_is_proven_and_expiring_credit_granted(gateway: ServedGateway) -> None:
    studio = await gateway.new_tenant()
    grant = billing_service_pb2.GrantCreditRequest(
        parent=f"tenants/{studio.tenant_id}",
        amount=money_pb2.Money(currency_code="USD", nanos=5),
        priority=3,
        request_id=str(uuid4()),
    )
    grant.expire_time.FromJsonString("2020-01-01T00:00:00Z")
    refused = await refusal(gateway.operator.billing.GrantCredit(grant))
    grant.expire_time.FromJsonString("2099-01-01T00:00:00Z")
    await gateway.operator.billing.GrantCredit(grant)

    proof = await studio.admin.billing.VerifyLedger(
        billing_service_pb2.VerifyLedgerRequest(parent="tenants/-")
    )

    assert refused.fields == ["expire_time"]
    assert (proof.consistent, proof.transfer_count, proof.block_count) == (True, 2, 0)


async def test_a_credit_limit_lets_a_tenant_pay_afterwards(gateway: ServedGateway) -> None:
    limit = money_pb2.Money(currency_code="USD", nanos=2_000_000)
    studio = await gateway.new_tenant(credit_nanos=0, credit_limit=limit)

    await studio.member.jobs.CreateJob(create_job(spec(2)))
    too_much = await refusal(studio.member.jobs.CreateJob(create_job(spec(1))))
    lower = tenant_service_pb2.UpdateTenantRequest(
        tenant=tenant_service_pb2.Tenant(
            name=f"tenants/{studio.tenant_id}",
            credit_limit=money_pb2.Money(currency_code="USD", nanos=1),
        )
    )
    lower.update_mask.paths.append("credit_limit")
    too_low = await refusal(gateway.operator.tenants.UpdateTenant(lower))
    lower.tenant.credit_limit.nanos = 3_000_000
    raised = await gateway.operator.tenants.UpdateTenant(lower)

    assert too_much.reason == "INSUFFICIENT_BALANCE"
    assert too_low.fields == ["tenant.credit_limit"]
    assert raised.credit_limit.nanos == 3_000_000
