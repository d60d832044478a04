"""DeleteTenant: refused until the tenant is settled; then no way in, and no way back."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from psycopg import AsyncConnection

from atelier.v1 import (
    api_key_service_pb2,
    billing_service_pb2,
    money_pb2,
    tenant_service_pb2,
)
from metering.invoice_settlement import record_payment
from metering.refunds import prepaid_nanos, refund_credit
from services.gateway.key_directory import StoredKeyDirectory
from services.gateway.tenant_settlement import what_is_unsettled
from tenants.ids import TenantId
from tenants.tenant_store import get_tenant
from tests.integration.fixture_types import Become, Pools
from tests.integration.metering.shop import Shop, open_shop
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    create_job,
    refusal,
    spec,
)

OCTOBER = datetime(2026, 10, 10, tzinfo=UTC)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def delete(
    tenant_id: str, *, validate_only: bool = False
) -> tenant_service_pb2.DeleteTenantRequest:
    return tenant_service_pb2.DeleteTenantRequest(
        name=f"tenants/{tenant_id}", validate_only=validate_only
    )


async def suspend(gateway: ServedGateway, tenant_id: str) -> None:
    await gateway.operator.tenants.SuspendTenant(
        tenant_service_pb2.SuspendTenantRequest(name=f"tenants/{tenant_id}")
    )


async def state_of(gateway: ServedGateway, tenant_id: str) -> str:
    found = await gateway.operator.tenants.GetTenant(
        tenant_service_pb2.GetTenantRequest(name=f"tenants/{tenant_id}")
    )
    return tenant_service_pb2.TenantState.Name(found.state)


async def test_all_that_stands_in_the_way_is_named_at_once(gateway: ServedGateway) -> None:
    studio = await gateway.new_tenant()
    await studio.member.jobs.CreateJob(create_job(spec(2)))

    refused = await refusal(gateway.operator.tenants.DeleteTenant(delete(studio.tenant_id)))

    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "INVALID_STATE_TRANSITION")
    assert refused.metadata == {
        "state": "ACTIVE",
        "violations": "NOT_SUSPENDED,OPEN_IMAGES,OPEN_HOLDS,CREDIT_LEFT",
    }
    assert [(kind, subject) for kind, subject, _ in refused.preconditions] == [
        (kind, f"tenants/{studio.tenant_id}")
        for kind in ("NOT_SUSPENDED", "OPEN_IMAGES", "OPEN_HOLDS", "CREDIT_LEFT")
    ]
    assert refused.preconditions[1][2] == "2 images have not come to their end"
    assert await state_of(gateway, studio.tenant_id) == "TENANT_STATE_ACTIVE"


async def test_who_is_only_asked_about_stays(gateway: ServedGateway) -> None:
    studio = await gateway.new_tenant(credit_nanos=0)
    await suspend(gateway, studio.tenant_id)

    await gateway.operator.tenants.DeleteTenant(delete(studio.tenant_id, validate_only=True))

    assert await state_of(gateway, studio.tenant_id) == "TENANT_STATE_SUSPENDED"
    own = await studio.member.tenants.GetTenant(
        tenant_service_pb2.GetTenantRequest(name="tenants/-")
    )
    assert own.name == f"tenants/{studio.tenant_id}"


async def test_who_is_deleted_has_no_way_in_and_no_way_back(
    gateway: ServedGateway, pools: Pools
) -> None:
    studio = await gateway.new_tenant(credit_nanos=0)
    name = f"tenants/{studio.tenant_id}"
    await suspend(gateway, studio.tenant_id)

    await gateway.operator.tenants.DeleteTenant(delete(studio.tenant_id))
    await gateway.operator.tenants.DeleteTenant(delete(studio.tenant_id))

    assert await state_of(gateway, studio.tenant_id) == "TENANT_STATE_DELETING"
    own = tenant_service_pb2.GetTenantRequest(name="tenants/-")
    for client in (studio.member, studio.admin):
        assert (await refusal(client.tenants.GetTenant(own))).code == "UNAUTHENTICATED"
    async with pools("atelier_gateway") as pool:
        # Whom a certificate names is looked up here.
        assert await StoredKeyDirectory(pool).find_tenant(TenantId(studio.tenant_id)) is None
    for call in additions(gateway, name):
        refused = await refusal(call())
        assert refused.reason == "INVALID_STATE_TRANSITION", refused
        assert refused.metadata["state"] == "DELETING"
    again = await refusal(
        gateway.operator.tenants.CreateTenant(
            tenant_service_pb2.CreateTenantRequest(
                tenant_id=studio.tenant_id,
                tenant=tenant_service_pb2.Tenant(display_name="Somebody else"),
                request_id=str(uuid4()),
            )
        )
    )
    assert again.reason == "RESOURCE_EXISTS"
    rows = await gateway.rows(
        "SELECT code,"
        " (SELECT count(*) FROM api_keys WHERE tenant_id = %(id)s AND revoke_time IS NULL)"
        " FROM audit_events WHERE tenant_id = %(id)s AND method = 'TenantService/DeleteTenant'",
        id=studio.tenant_id,
    )
    assert rows[0] == ("OK", 0)


async def test_nobody_but_operators_deletes_and_who_is_not_there_is_not_found(
    gateway: ServedGateway,
) -> None:
    studio = await gateway.new_tenant(credit_nanos=0)
    other = await gateway.new_tenant(credit_nanos=0)

    refused = [
        await refusal(client.tenants.DeleteTenant(delete(tenant_id)))
        for client in (studio.member, studio.admin)
        for tenant_id in (studio.tenant_id, other.tenant_id, "nobody")
    ]
    missing = await refusal(gateway.operator.tenants.DeleteTenant(delete("nobody")))

    assert {each.reason for each in refused} == {"ROLE_REQUIRED"}
    assert missing.reason == "RESOURCE_NOT_FOUND"


def additions(gateway: ServedGateway, name: str) -> list[Callable[[], Awaitable[Any]]]:
    """What an operator may do for a tenant, and not for one that leaves."""
    operator = gateway.operator
    dollar = money_pb2.Money(currency_code="USD", nanos=1)
    tenant = tenant_service_pb2.Tenant(name=name, display_name="Back")
    update = tenant_service_pb2.UpdateTenantRequest(tenant=tenant)
    update.update_mask.paths.append("display_name")
    once = str(uuid4())
    return [
        lambda: operator.tenants.UpdateTenant(update),
        lambda: operator.tenants.ResumeTenant(tenant_service_pb2.ResumeTenantRequest(name=name)),
        lambda: operator.tenants.SuspendTenant(tenant_service_pb2.SuspendTenantRequest(name=name)),
        lambda: operator.api_keys.CreateApiKey(
            api_key_service_pb2.CreateApiKeyRequest(
                parent=name,
                api_key=api_key_service_pb2.ApiKey(role=api_key_service_pb2.KEY_ROLE_MEMBER),
                request_id=once,
            )
        ),
        lambda: operator.billing.GrantCredit(
            billing_service_pb2.GrantCreditRequest(parent=name, amount=dollar, request_id=once)
        ),
        lambda: operator.billing.RefundCredit(
            billing_service_pb2.RefundCreditRequest(
                parent=name, amount=dollar, reference="wire", request_id=once
            )
        ),
        lambda: operator.billing.FinalizeInvoice(
            billing_service_pb2.FinalizeInvoiceRequest(
                name=f"{name}/invoices/2026-01", request_id=once
            )
        ),
        lambda: operator.billing.SetBudget(
            billing_service_pb2.SetBudgetRequest(
                budget=billing_service_pb2.Budget(
                    name=f"{name}/budgets/b",
                    period=billing_service_pb2.BUDGET_PERIOD_DAY,
                    limit=dollar,
                )
            )
        ),
    ]


async def unsettled(shop: Shop) -> list[str]:
    await shop.as_role("atelier_operator")
    tenant = await get_tenant(shop.connection, shop.tenant_id)
    assert tenant is not None
    return [each.kind for each in await what_is_unsettled(shop.connection, tenant, now=NOW)]


async def test_money_is_settled_step_by_step(connection: AsyncConnection, become: Become) -> None:
    shop = await open_shop(connection, become, tenant_id="acme-to-settle")
    await shop.open_since(OCTOBER)
    await shop.grant_early(OCTOBER)
    await shop.move_charges(await shop.sell(), OCTOBER)
    await shop.as_role("atelier_operator")
    await connection.execute(
        "UPDATE tenants SET state = 'SUSPENDED' WHERE tenant_id = %s", [shop.tenant_id]
    )

    assert await unsettled(shop) == ["UNINVOICED_USAGE", "CREDIT_LEFT"]

    invoice = await shop.finalize("2026-10", now=NOW)
    assert await unsettled(shop) == ["UNSETTLED_INVOICES", "CREDIT_LEFT"]

    await record_payment(
        connection,
        tenant_id=shop.tenant_id,
        invoice_id="2026-10",
        amount_nanos=invoice.due_nanos,
        payment_time=NOW,
        reference="wire 1",
    )
    assert await unsettled(shop) == ["CREDIT_LEFT"]

    await refund_credit(
        connection,
        tenant_id=shop.tenant_id,
        amount_nanos=await prepaid_nanos(connection, tenant_id=shop.tenant_id, currency="EUR"),
        currency="EUR",
        reference="wire 2",
        request_id=None,
    )
    assert await unsettled(shop) == []
