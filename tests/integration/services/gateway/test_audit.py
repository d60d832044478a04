"""What was done is written down: by whom, when, from where, and how it ended."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from atelier.v1 import (
    api_key_service_pb2,
    audit_service_pb2,
    billing_service_pb2,
    job_service_pb2,
    money_pb2,
    tenant_service_pb2,
)
from tests.integration.fixture_types import Postgres, RoleConnection
from tests.integration.services.gateway.gateway_fixtures import (
    Client,
    ServedGateway,
    Studio,
    create_job,
    refusal,
)

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60.0


async def events(client: Client, **wanted: Any) -> Sequence[audit_service_pb2.AuditEvent]:
    values: dict[str, Any] = {"parent": "tenants/-"} | wanted
    request = audit_service_pb2.ListAuditEventsRequest(**values)
    return (await client.audit.ListAuditEvents(request)).audit_events


async def eventually(
    client: Client, is_there: Callable[[audit_service_pb2.AuditEvent], bool], **wanted: Any
) -> audit_service_pb2.AuditEvent:
    """Wait for an event that is written soon after its call."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            for event in await events(client, **wanted):
                if is_there(event):
                    return event
            await asyncio.sleep(0.02)


def key_name(client: Client, tenant_id: str) -> str:
    return f"tenants/{tenant_id}/apiKeys/{(client.key or '').split('_')[2]}"


async def test_an_order_is_written_down_with_the_order_itself(acme: Studio) -> None:
    request = create_job()

    job = await acme.member.jobs.CreateJob(request)
    (event,) = await events(acme.admin, method="JobService/CreateJob")

    assert event.resource_name == job.name
    assert event.api_key == key_name(acme.member, acme.tenant_id)
    assert event.role == api_key_service_pb2.KEY_ROLE_MEMBER
    assert event.address in {"127.0.0.1", "::1"}
    assert (event.code, event.reason, event.request_id) == ("OK", "", request.request_id)
    assert event.name.startswith(f"tenants/{acme.tenant_id}/auditEvents/")
    assert event.HasField("create_time")


async def test_what_only_asks_leaves_no_event(acme: Studio) -> None:
    quote = create_job()
    quote.validate_only = True
    before = await events(acme.admin)

    await acme.member.jobs.CreateJob(quote)
    await acme.member.jobs.ListJobs(job_service_pb2.ListJobsRequest(parent="tenants/-"))

    assert await events(acme.admin) == before


async def test_a_refused_call_is_written_down_with_its_reason(acme: Studio) -> None:
    await refusal(
        acme.member.api_keys.RevokeApiKey(
            api_key_service_pb2.RevokeApiKeyRequest(name="tenants/-/apiKeys/abc")
        )
    )
    await refusal(acme.admin.jobs.CancelJob(job_service_pb2.CancelJobRequest(name=nobody())))

    role = await eventually(acme.admin, lambda event: event.reason == "ROLE_REQUIRED")
    missing = await eventually(acme.admin, lambda event: event.reason == "RESOURCE_NOT_FOUND")

    assert (role.method, role.code) == ("ApiKeyService/RevokeApiKey", "PERMISSION_DENIED")
    assert (missing.code, missing.resource_name) == ("NOT_FOUND", nobody())


def nobody() -> str:
    return "tenants/nobody/jobs/00000000000000000000"


async def test_what_an_operator_did_to_a_tenant_is_told_to_it_without_who(
    gateway: ServedGateway, acme: Studio
) -> None:
    name = f"tenants/{acme.tenant_id}"
    await gateway.operator.tenants.UpdateTenant(
        tenant_service_pb2.UpdateTenantRequest(
            tenant=tenant_service_pb2.Tenant(name=name, legal_name="Acme Ltd"),
            update_mask=FieldMask(paths=["legal_name"]),
        )
    )

    (told,) = await events(acme.admin, method="TenantService/UpdateTenant")
    (known,) = await events(gateway.operator, method="TenantService/UpdateTenant", parent=name)

    assert (told.api_key, told.address) == ("", "")
    assert told.role == api_key_service_pb2.KEY_ROLE_OPERATOR
    assert (told.resource_name, told.changed_fields) == (name, ["legal_name"])
    assert known.api_key == key_name(gateway.operator, "operator")
    assert known.address in {"127.0.0.1", "::1"}


async def test_an_operator_sees_all_tenants_and_the_installation(
    gateway: ServedGateway, acme: Studio, zeta: Studio
) -> None:
    made = [
        await events(gateway.operator, method="TenantService/CreateTenant", resource_name=name)
        for name in (f"tenants/{acme.tenant_id}", f"tenants/{zeta.tenant_id}")
    ]
    prices = await events(gateway.operator, method="BillingService/CreatePriceVersion")

    assert [len(found) for found in made] == [1, 1]
    assert prices[0].name.startswith("tenants/operator/auditEvents/")
    assert prices[0].resource_name.startswith("priceVersions/")


async def test_a_tenant_sees_no_event_of_another(
    gateway: ServedGateway, acme: Studio, zeta: Studio
) -> None:
    await acme.member.jobs.CreateJob(create_job())

    foreign = await refusal(
        zeta.admin.audit.ListAuditEvents(
            audit_service_pb2.ListAuditEventsRequest(parent=f"tenants/{acme.tenant_id}")
        )
    )
    by_foreign_key = await refusal(
        zeta.admin.audit.ListAuditEvents(
            audit_service_pb2.ListAuditEventsRequest(
                parent="tenants/-", api_key=key_name(acme.member, acme.tenant_id)
            )
        )
    )
    own = await events(zeta.admin)

    assert {foreign.code, by_foreign_key.code} == {"NOT_FOUND"}
    assert {event.name.split("/")[1] for event in own} == {zeta.tenant_id}


async def test_a_member_does_not_read_the_log(acme: Studio) -> None:
    refused = await refusal(events(acme.member))

    assert (refused.reason, refused.metadata) == ("ROLE_REQUIRED", {"role": "ADMIN"})


async def test_events_come_newest_first_page_by_page_under_one_filter(acme: Studio) -> None:
    jobs = [await acme.member.jobs.CreateJob(create_job()) for _ in range(3)]

    def page_of(method: str, page_token: str = "") -> Any:
        return acme.admin.audit.ListAuditEvents(
            audit_service_pb2.ListAuditEventsRequest(
                parent="tenants/-", method=method, page_size=2, page_token=page_token
            )
        )

    first = await page_of("JobService/CreateJob")
    second = await page_of("JobService/CreateJob", first.next_page_token)
    refused = await refusal(page_of("JobService/CancelJob", first.next_page_token))
    listed = [event.resource_name for event in [*first.audit_events, *second.audit_events]]

    assert listed == [job.name for job in reversed(jobs)]
    assert second.next_page_token == ""
    assert refused.reason == "PAGE_TOKEN_MISMATCH"


async def test_money_is_not_granted_when_its_event_cannot_be_written(
    gateway: ServedGateway, acme: Studio
) -> None:
    request = billing_service_pb2.GrantCreditRequest(
        parent=f"tenants/{acme.tenant_id}",
        amount=money_pb2.Money(currency_code="USD", nanos=7),
        request_id=str(uuid4()),
    )
    before = await balance_nanos(acme)
    # No other test writes into this name: the constraint is about one tenant alone.
    await gateway.change(
        f"ALTER TABLE audit_events ADD CONSTRAINT none_of_{acme.tenant_id}"
        f" CHECK (tenant_id <> '{acme.tenant_id}') NOT VALID"
    )
    try:
        refused = await refusal(gateway.operator.billing.GrantCredit(request))
    finally:
        await gateway.change(f"ALTER TABLE audit_events DROP CONSTRAINT none_of_{acme.tenant_id}")
    unchanged = await balance_nanos(acme)
    await gateway.operator.billing.GrantCredit(request)

    assert refused.code == "INTERNAL"
    assert unchanged == before
    assert await balance_nanos(acme) == before + 7


async def balance_nanos(studio: Studio) -> int:
    answer = await studio.admin.billing.GetBalance(
        billing_service_pb2.GetBalanceRequest(name="tenants/-/balance")
    )
    return answer.available.nanos


@pytest.mark.parametrize("role", ["atelier_gateway", "atelier_operator"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET code = 'OK'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
    ],
)
async def test_no_process_may_change_what_was_written(
    role_connection: RoleConnection, role: str, statement: str
) -> None:
    async with role_connection(role, tenant_id="acme") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(statement.encode())


async def test_even_the_administrator_is_refused(
    gateway: ServedGateway, postgres: Postgres
) -> None:
    async with await psycopg.AsyncConnection.connect(postgres.admin_url) as connection:
        with pytest.raises(psycopg.errors.RestrictViolation):
            await connection.execute("DELETE FROM audit_events")
