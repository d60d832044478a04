"""Costs and margins at the door: the operator's alone, whatever a tenant asks."""

from uuid import uuid4

import pytest
from google.protobuf.descriptor import Descriptor

from atelier.v1 import (
    billing_service_pb2,
    cost_pb2,
)
from services.gateway.services_table import SERVICES
from tests.integration.services.gateway.gateway_fixtures import ServedGateway, refusal

pytestmark = pytest.mark.integration


def costs(effective_time: str) -> billing_service_pb2.CreateCostVersionRequest:
    wish = billing_service_pb2.CreateCostVersionRequest(
        cost_version=cost_pb2.CostVersion(
            currency_code="CHF",
            gpu_second_nanos=1_500_000,
            kwh_nanos=150_000_000,
            idle_share_millionths=250_000,
            display_name="Rack 4",
        ),
        request_id=str(uuid4()),
    )
    wish.cost_version.effective_time.FromJsonString(effective_time)
    return wish


def question(**fields: object) -> billing_service_pb2.QueryMarginRequest:
    asked = billing_service_pb2.QueryMarginRequest(**fields)  # pyright: ignore[reportArgumentType]
    asked.start_time.FromJsonString("2026-11-01T00:00:00Z")
    asked.end_time.FromJsonString("2026-12-01T00:00:00Z")
    return asked


async def test_costs_are_made_once_and_listed(gateway: ServedGateway) -> None:
    billing = gateway.operator.billing
    wish = costs("2026-01-01T00:00:00Z")

    made = await billing.CreateCostVersion(wish)
    again = await billing.CreateCostVersion(wish)
    listed = await billing.ListCosts(billing_service_pb2.ListCostsRequest(page_size=1000))
    refused = await refusal(billing.CreateCostVersion(costs("2026-01-01T00:00:00Z")))

    assert made == again
    assert made.idle_share_millionths == 250_000
    assert made in listed.cost_versions
    assert refused.reason == "RESOURCE_EXISTS"


async def test_a_tenant_s_keys_may_neither_ask_for_costs_nor_for_margins(
    gateway: ServedGateway,
) -> None:
    studio = await gateway.new_tenant()

    refused = [
        await refusal(caller.billing.CreateCostVersion(costs("2026-02-01T00:00:00Z")))
        for caller in (studio.member, studio.admin)
    ]
    refused += [
        await refusal(caller.billing.ListCosts(billing_service_pb2.ListCostsRequest()))
        for caller in (studio.member, studio.admin)
    ]
    refused += [
        await refusal(caller.billing.QueryMargin(question()))
        for caller in (studio.member, studio.admin)
    ]

    assert {answer.reason for answer in refused} == {"ROLE_REQUIRED"}


async def test_margins_of_a_tenant_without_sales_are_nothing(gateway: ServedGateway) -> None:
    studio = await gateway.new_tenant()

    answer = await gateway.operator.billing.QueryMargin(
        question(
            tenant=f"tenants/{studio.tenant_id}",
            group_by=[cost_pb2.MARGIN_DIMENSION_TENANT, cost_pb2.MARGIN_DIMENSION_DAY],
        )
    )

    assert (list(answer.groups), list(answer.totals)) == ([], [])


async def test_images_are_told_of_one_job_and_time_is_bounded(gateway: ServedGateway) -> None:
    of_images = question(group_by=[cost_pb2.MARGIN_DIMENSION_IMAGE])
    too_long = question()
    too_long.end_time.FromJsonString("2026-12-31T00:00:00Z")
    elsewhere = question(tenant="tenants/acme", job="tenants/zen/jobs/1")

    refused = [
        await refusal(gateway.operator.billing.QueryMargin(asked))
        for asked in (of_images, too_long, elsewhere)
    ]

    assert {answer.code for answer in refused} == {"INVALID_ARGUMENT"}


def test_no_other_answer_has_room_for_a_cost_or_a_margin() -> None:
    told = {"atelier.v1.CostVersion", "atelier.v1.MarginGroup"}
    having = {
        method.name
        for service in SERVICES
        for method in service.methods
        if told & _messages_within(method.output_type)
    }

    assert having == {"CreateCostVersion", "ListCosts", "QueryMargin"}


def _messages_within(message: Descriptor) -> set[str]:
    """Every message that an answer may hold, at any depth."""
    found: set[str] = set()
    open_messages = [message]
    while open_messages:
        descriptor = open_messages.pop()
        if descriptor.full_name in found:
            continue
        found.add(descriptor.full_name)
        open_messages += [field.message_type for field in descriptor.fields if field.message_type]
    return found
