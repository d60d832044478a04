"""Signed tokens of an identity provider open the door, and nothing but what they are bound to."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from atelier.v1 import (
    api_key_service_pb2,
    billing_service_pb2,
    identity_service_pb2,
    money_pb2,
    tenant_service_pb2,
)
from atelier.v1.audit_service_pb2 import AuditEvent, ListAuditEventsRequest
from tests.integration.services.gateway.gateway_fixtures import (
    Client,
    ServedGateway,
    create_job,
    refusal,
)
from tests.integration.services.gateway.identity_provider import (
    new_key,
)
from tests.integration.services.gateway.trusting_gateway import (
    PATIENCE_SECONDS,
    Trusting,
    installation,
    is_refused_with,
    list_models,
    until,
)

pytestmark = pytest.mark.integration

BINDINGS = identity_service_pb2.ListIdentityBindingsRequest


async def test_a_bound_token_opens_and_every_trace_of_it_says_whose_it_was(
    trusted: Trusting,
) -> None:
    acme = await trusted.gateway.new_tenant()
    await trusted.bind(acme.tenant_id, role="KEY_ROLE_ADMIN", project="summer")
    client = trusted.client()

    told = await installation(client)
    job = await client.jobs.CreateJob(create_job())
    await acme.admin.billing.SetBudget(budget_of(told.api_key))
    refused = await refusal(client.jobs.CreateJob(create_job()))
    others = await acme.member.jobs.CreateJob(create_job())
    log = await audit_events(acme.admin, told.api_key, count=2)

    assert told.tenant == f"tenants/{acme.tenant_id}"
    assert (told.issuer, told.subject) == (trusted.provider.url, "somebody")
    assert told.role == api_key_service_pb2.KEY_ROLE_ADMIN
    assert told.api_key.startswith(f"{told.tenant}/apiKeys/identity")
    assert (job.project, job.api_key) == ("summer", told.api_key)
    assert refused.reason == "BUDGET_EXCEEDED"
    assert others.api_key == f"{told.tenant}/apiKeys/{(acme.member.key or '').split('_')[2]}"
    assert {(one.subject, one.issuer, one.resource_name, one.code) for one in log} == {
        ("somebody", trusted.provider.url, told.tenant, "RESOURCE_EXHAUSTED"),
        ("somebody", trusted.provider.url, job.name, "OK"),
    }


async def audit_events(reader: Client, api_key: str, *, count: int) -> Sequence[AuditEvent]:
    """What one caller did, once it is there: a refused call is written a moment later."""
    request = ListAuditEventsRequest(parent="tenants/-", api_key=api_key)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await reader.audit.ListAuditEvents(request)
            if len(answer.audit_events) >= count:
                return answer.audit_events
            await asyncio.sleep(0.05)


def budget_of(api_key: str) -> billing_service_pb2.SetBudgetRequest:
    tenant = api_key.partition("/apiKeys/")[0]
    return billing_service_pb2.SetBudgetRequest(
        budget=billing_service_pb2.Budget(
            name=f"{tenant}/budgets/one-person",
            api_key=api_key,
            period=billing_service_pb2.BUDGET_PERIOD_MONTH,
            enforcement=billing_service_pb2.BUDGET_ENFORCEMENT_HARD,
            limit=money_pb2.Money(currency_code="USD", nanos=1),
        )
    )


async def test_each_kind_of_key_opens(trusted: Trusting) -> None:
    acme = await trusted.gateway.new_tenant()
    await trusted.bind(acme.tenant_id)

    for key in trusted.provider.keys:
        await list_models(trusted.client(key=key))

    assert [key.algorithm for key in trusted.provider.keys] == ["ES256", "EdDSA", "RS256"]


async def test_a_wrong_token_is_refused_like_a_wrong_key_and_leaves_nothing_behind(
    trusted: Trusting,
) -> None:
    acme = await trusted.gateway.new_tenant()
    await trusted.bind(acme.tenant_id)
    await list_models(trusted.client())
    provider, now = trusted.provider, int(time.time())
    good = provider.token().split(".")
    tokens = {
        "expired": provider.token(iat=now - 900, exp=now - 600),
        "not yet": provider.token(nbf=now + 600, exp=now + 900),
        "lives too long": provider.token(exp=now + 7200),
        "another audience": provider.token(aud="another"),
        "another issuer": provider.token(iss="https://evil.example"),
        "no subject": provider.token(without=("sub",)),
        "an id token": provider.token(headers={"typ": "JWT"}),
        "bound to nobody": provider.token(sub="nobody"),
        "somebody else signed": provider.token(new_key("first")),
        "unknown key": provider.token(new_key("unknown")),
        "changed": ".".join([good[0], good[1][:-2] + "AA", good[2]]),
        "no signature": f"{good[0]}.{good[1]}.",
        "noise": "eyJ" + "x" * 7_000,
    }
    before = await written(trusted.gateway)
    wrong_key = await refusal(list_models(trusted.gateway.client("noise")))

    answers = {
        name: await refusal(list_models(trusted.gateway.client(token)))
        for name, token in tokens.items()
    }

    assert wrong_key.reason == "KEY_INVALID"
    assert answers == dict.fromkeys(tokens, wrong_key)
    assert await written(trusted.gateway) == before


async def written(gateway: ServedGateway) -> Any:
    return await gateway.rows(
        "SELECT (SELECT count(*) FROM audit_events), (SELECT count(*) FROM requests),"
        " (SELECT count(*) FROM identity_bindings), (SELECT count(*) FROM api_keys)"
    )


async def test_what_binds_a_key_binds_a_token(trusted: Trusting) -> None:
    acme = await trusted.gateway.new_tenant()
    await trusted.bind(acme.tenant_id)
    await trusted.bind(acme.tenant_id, subject="far", allowed_networks=["192.0.2.0/24"])
    client = trusted.client()

    elsewhere = await refusal(list_models(trusted.client(sub="far")))
    role = await refusal(client.identities.ListIdentityBindings(BINDINGS(parent="tenants/-")))
    await suspend(trusted.gateway, acme.tenant_id)
    await until(lambda: order_is_refused(client, "TENANT_SUSPENDED"))
    await list_models(client)
    await limit(trusted.gateway, acme.tenant_id, calls_per_minute_max=6)
    await until(lambda: is_refused_with(client, "RESOURCE_EXHAUSTED"))
    hasty = await refusal(list_models(acme.member))

    assert elsewhere.reason == "ADDRESS_NOT_ALLOWED"
    assert role.reason == "ROLE_REQUIRED"
    assert (hasty.reason, hasty.quota_subjects) == ("RATE_LIMITED", [f"tenants/{acme.tenant_id}"])


async def order_is_refused(client: Client, reason: str) -> bool:
    return (await refusal(client.jobs.CreateJob(create_job()))).reason == reason


async def suspend(gateway: ServedGateway, tenant_id: str) -> None:
    await gateway.operator.tenants.SuspendTenant(
        tenant_service_pb2.SuspendTenantRequest(name=f"tenants/{tenant_id}")
    )


async def limit(gateway: ServedGateway, tenant_id: str, **quotas: Any) -> None:
    await gateway.operator.tenants.UpdateTenant(
        tenant_service_pb2.UpdateTenantRequest(
            tenant=tenant_service_pb2.Tenant(
                name=f"tenants/{tenant_id}", quotas=tenant_service_pb2.TenantQuotas(**quotas)
            ),
            update_mask=FieldMask(paths=[f"quotas.{name}" for name in quotas]),
        )
    )
