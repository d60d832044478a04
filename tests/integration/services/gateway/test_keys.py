"""Who may call: keys, roles, revocation, and tenants that cannot see one another."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from atelier.v1 import (
    api_key_service_pb2,
    billing_service_pb2,
    job_service_pb2,
    model_service_pb2,
    price_pb2,
    tenant_service_pb2,
)
from services.gateway.bootstrap import make_first_operator_key
from services.gateway.errors import OperatorKeyExistsError
from tenants.api_keys import _checksum as checksum  # pyright: ignore[reportPrivateUsage]
from tenants.api_keys import new_key
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import (
    PEPPER,
    Client,
    ServedGateway,
    Studio,
    create_job,
    flat_price,
    read_all,
    refusal,
)

pytestmark = pytest.mark.integration

MODELS = model_service_pb2.ListModelsRequest()


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "noise",
        "atl_live_AAAAAAAAAAAA_" + "B" * 33 + "_000000",
        new_key(pepper=PEPPER.encode()).text,
        "x" * 5000,
    ],
    ids=["none", "empty", "noise", "wrong checksum", "unknown", "very long"],
)
async def test_what_is_no_key_of_ours_does_not_open(
    gateway: ServedGateway, key: str | None
) -> None:
    refused = await refusal(gateway.client(key).models.ListModels(MODELS))

    assert (refused.code, refused.reason) == ("UNAUTHENTICATED", "KEY_INVALID")


async def test_a_key_with_another_secret_does_not_open(
    gateway: ServedGateway, acme: Studio
) -> None:
    genuine = acme.member.key or ""
    stranger = new_key(pepper=b"x" * 32).text
    # The id of a key that exists, with a secret and a checksum that belong together.
    unchecked = f"atl_live_{genuine.split('_')[2]}_{stranger.split('_')[3]}"
    forged = f"{unchecked}_{checksum(unchecked)}"

    refused = await refusal(gateway.client(forged).models.ListModels(MODELS))

    assert (refused.code, refused.reason) == ("UNAUTHENTICATED", "KEY_INVALID")


async def test_a_revoked_key_stops_within_a_second(gateway: ServedGateway, acme: Studio) -> None:
    key = await gateway.new_key(acme.tenant_id, "KEY_ROLE_MEMBER")
    client = gateway.client(key)
    await client.models.ListModels(MODELS)
    name = f"tenants/{acme.tenant_id}/apiKeys/{key.split('_')[2]}"

    revoked = await acme.admin.api_keys.RevokeApiKey(
        api_key_service_pb2.RevokeApiKeyRequest(name=name)
    )
    await asyncio.sleep(0.9)
    refused = await refusal(client.models.ListModels(MODELS))

    assert revoked.state == api_key_service_pb2.API_KEY_STATE_REVOKED
    assert (refused.code, refused.reason) == ("UNAUTHENTICATED", "KEY_REVOKED")
    assert refused.metadata == {"key_id": key.split("_")[2]}


async def test_a_stream_ends_when_its_key_is_revoked(gateway: ServedGateway, acme: Studio) -> None:
    key = await gateway.new_key(acme.tenant_id, "KEY_ROLE_MEMBER")
    client = gateway.client(key)
    job = await client.jobs.CreateJob(create_job())
    watch = client.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))
    await watch.read()

    await acme.admin.api_keys.RevokeApiKey(
        api_key_service_pb2.RevokeApiKeyRequest(name=f"tenants/-/apiKeys/{key.split('_')[2]}")
    )
    refused = await asyncio.wait_for(refusal(read_all(watch)), timeout=3)

    assert refused.reason == "KEY_REVOKED"


async def test_an_expired_key_says_so(gateway: ServedGateway, acme: Studio) -> None:
    soon = Timestamp()
    soon.FromDatetime(datetime.now(UTC) + timedelta(seconds=0.3))
    answer = await acme.admin.api_keys.CreateApiKey(
        api_key_service_pb2.CreateApiKeyRequest(
            parent="tenants/-",
            api_key=api_key_service_pb2.ApiKey(expire_time=soon),
            request_id=str(uuid4()),
        )
    )
    await asyncio.sleep(0.4)

    refused = await refusal(gateway.client(answer.secret).models.ListModels(MODELS))

    assert (refused.code, refused.reason) == ("UNAUTHENTICATED", "KEY_EXPIRED")


async def test_the_secret_of_a_key_is_shown_once(acme: Studio) -> None:
    request = api_key_service_pb2.CreateApiKeyRequest(
        parent="tenants/-",
        api_key=api_key_service_pb2.ApiKey(display_name="ci"),
        request_id=str(uuid4()),
    )

    first = await acme.admin.api_keys.CreateApiKey(request)
    second = await acme.admin.api_keys.CreateApiKey(request)

    assert first.secret.startswith("atl_live_")
    assert (second.secret, second.secret_already_shown) == ("", True)
    assert first.api_key == second.api_key


async def test_keys_are_listed_newest_first_page_by_page(acme: Studio) -> None:
    listed: list[api_key_service_pb2.ApiKey] = []
    token = ""
    for _ in range(3):
        answer = await acme.admin.api_keys.ListApiKeys(
            api_key_service_pb2.ListApiKeysRequest(
                parent="tenants/-", page_size=1, page_token=token
            )
        )
        listed.extend(answer.api_keys)
        token = answer.next_page_token
        if not token:
            break

    assert [key.role for key in listed] == [
        api_key_service_pb2.KEY_ROLE_ADMIN,
        api_key_service_pb2.KEY_ROLE_MEMBER,
    ]


MEMBER_MAY_NOT: dict[str, tuple[Callable[[Client], Any], str]] = {
    "CreateApiKey": (
        lambda client: client.api_keys.CreateApiKey(
            api_key_service_pb2.CreateApiKeyRequest(
                parent="tenants/-",
                api_key=api_key_service_pb2.ApiKey(),
                request_id=str(uuid4()),
            )
        ),
        "ADMIN",
    ),
    "CreateTenant": (
        lambda client: client.tenants.CreateTenant(
            tenant_service_pb2.CreateTenantRequest(
                tenant_id="mine",
                tenant=tenant_service_pb2.Tenant(display_name="x"),
                request_id=str(uuid4()),
            )
        ),
        "OPERATOR",
    ),
    "GrantCredit": (
        lambda client: client.billing.GrantCredit(billing_service_pb2.GrantCreditRequest()),
        "OPERATOR",
    ),
    "CreatePriceVersion": (
        lambda client: client.billing.CreatePriceVersion(
            billing_service_pb2.CreatePriceVersionRequest()
        ),
        "OPERATOR",
    ),
    "ListTenants": (
        lambda client: client.tenants.ListTenants(tenant_service_pb2.ListTenantsRequest()),
        "OPERATOR",
    ),
    "GetInvoice": (
        lambda client: client.billing.GetInvoice(billing_service_pb2.GetInvoiceRequest()),
        "ADMIN",
    ),
}


@pytest.mark.parametrize("call", MEMBER_MAY_NOT)
async def test_a_member_is_told_which_role_a_call_needs(acme: Studio, call: str) -> None:
    make, role = MEMBER_MAY_NOT[call]

    refused = await refusal(make(acme.member))

    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "ROLE_REQUIRED")
    assert refused.metadata == {"role": role}


async def test_an_admin_cannot_make_an_operators_key(acme: Studio) -> None:
    refused = await refusal(
        acme.admin.api_keys.CreateApiKey(
            api_key_service_pb2.CreateApiKeyRequest(
                parent="tenants/-",
                api_key=api_key_service_pb2.ApiKey(role=api_key_service_pb2.KEY_ROLE_OPERATOR),
                request_id=str(uuid4()),
            )
        )
    )

    assert (refused.reason, refused.fields) == ("FIELD_VIOLATION", ["api_key.role"])


async def test_an_operator_makes_a_further_operator(gateway: ServedGateway) -> None:
    answer = await gateway.operator.api_keys.CreateApiKey(
        api_key_service_pb2.CreateApiKeyRequest(
            parent="tenants/operator",
            api_key=api_key_service_pb2.ApiKey(role=api_key_service_pb2.KEY_ROLE_OPERATOR),
            request_id=str(uuid4()),
        )
    )

    listed = await gateway.client(answer.secret).tenants.ListTenants(
        tenant_service_pb2.ListTenantsRequest(page_size=1)
    )

    assert len(listed.tenants) <= 1


async def test_an_operator_does_not_spend_a_tenants_money(
    gateway: ServedGateway, acme: Studio
) -> None:
    refused = await refusal(
        gateway.operator.jobs.CreateJob(create_job(parent=f"tenants/{acme.tenant_id}"))
    )

    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "ROLE_REQUIRED")


async def test_an_operator_reads_what_a_tenant_has(gateway: ServedGateway, acme: Studio) -> None:
    job = await acme.member.jobs.CreateJob(create_job())

    read = await gateway.operator.jobs.GetJob(job_service_pb2.GetJobRequest(name=job.name))

    assert read == job


async def test_a_suspended_tenant_reads_and_does_not_order(
    gateway: ServedGateway, acme: Studio
) -> None:
    job = await acme.member.jobs.CreateJob(create_job())
    name = f"tenants/{acme.tenant_id}"
    await gateway.operator.tenants.SuspendTenant(tenant_service_pb2.SuspendTenantRequest(name=name))
    await asyncio.sleep(0.6)

    read = await acme.member.jobs.GetJob(job_service_pb2.GetJobRequest(name=job.name))
    refused = await refusal(acme.member.jobs.CreateJob(create_job()))

    await gateway.operator.tenants.ResumeTenant(tenant_service_pb2.ResumeTenantRequest(name=name))
    await asyncio.sleep(0.6)
    resumed = await acme.member.jobs.CreateJob(create_job())

    assert read == job
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "TENANT_SUSPENDED")
    assert resumed.image_count == 1


async def test_an_operator_changes_what_the_mask_names(
    gateway: ServedGateway, acme: Studio
) -> None:
    request = tenant_service_pb2.UpdateTenantRequest(
        tenant=tenant_service_pb2.Tenant(
            name=f"tenants/{acme.tenant_id}",
            legal_name="Acme Ltd",
            vat_id="not named in the mask",
            quotas=tenant_service_pb2.TenantQuotas(queued_images_max=5, gpu_weight=2.5),
        ),
        update_mask=FieldMask(
            paths=["legal_name", "quotas.queued_images_max", "quotas.gpu_weight"]
        ),
    )

    changed = await gateway.operator.tenants.UpdateTenant(request)
    request.update_mask.paths.append("currency_code")
    refused = await refusal(gateway.operator.tenants.UpdateTenant(request))

    assert (changed.legal_name, changed.vat_id) == ("Acme Ltd", "")
    assert (changed.quotas.queued_images_max, changed.quotas.gpu_weight) == (5, 2.5)
    assert (refused.reason, refused.fields) == ("UNSUPPORTED_PARAMETER", ["update_mask"])


async def test_two_tenants_may_use_the_same_request_id(acme: Studio, zeta: Studio) -> None:
    request_id = str(uuid4())

    first = await acme.member.jobs.CreateJob(create_job(request_id=request_id))
    second = await zeta.member.jobs.CreateJob(create_job(request_id=request_id))

    assert first.name != second.name


async def test_a_second_bootstrap_says_that_there_is_a_key(
    gateway: ServedGateway, postgres: Postgres
) -> None:
    with pytest.raises(OperatorKeyExistsError):
        await make_first_operator_key(
            postgres.url("atelier_operator"), pepper=PEPPER.encode(), another=False
        )


async def test_a_tenant_is_made_once(gateway: ServedGateway) -> None:
    request = tenant_service_pb2.CreateTenantRequest(
        tenant_id=f"t{uuid4().hex[:12]}",
        tenant=tenant_service_pb2.Tenant(display_name="Acme", time_zone="Europe/Berlin"),
        request_id=str(uuid4()),
    )

    first = await gateway.operator.tenants.CreateTenant(request)
    second = await gateway.operator.tenants.CreateTenant(request)
    request.request_id = str(uuid4())
    refused = await refusal(gateway.operator.tenants.CreateTenant(request))

    assert first == second
    assert (first.time_zone, first.currency_code) == ("Europe/Berlin", "USD")
    assert (refused.code, refused.reason) == ("ALREADY_EXISTS", "RESOURCE_EXISTS")


@pytest.mark.parametrize(
    ("tenant", "reason", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "FIELD_VIOLATION", "tenant.time_zone"),
        ({"time_zone": "../etc"}, "FIELD_VIOLATION", "tenant.time_zone"),
        # Python's has summer time, PostgreSQL's has none.
        ({"time_zone": "CET"}, "FIELD_VIOLATION", "tenant.time_zone"),
        (
            {"quotas": tenant_service_pb2.TenantQuotas(allowed_models=["models/nothing"])},
            "FIELD_VIOLATION",
            "tenant.quotas.allowed_models[0]",
        ),
        (
            {"settings": tenant_service_pb2.TenantSettings(palette=["#FF0000"])},
            "UNSUPPORTED_PARAMETER",
            "tenant.settings",
        ),
    ],
)
async def test_a_tenant_that_cannot_be_is_refused(
    gateway: ServedGateway, tenant: dict[str, Any], reason: str, field: str
) -> None:
    refused = await refusal(
        gateway.operator.tenants.CreateTenant(
            tenant_service_pb2.CreateTenantRequest(
                tenant_id=f"t{uuid4().hex[:12]}",
                tenant=tenant_service_pb2.Tenant(display_name="x", **tenant),
                request_id=str(uuid4()),
            )
        )
    )

    assert (refused.code, refused.reason, refused.fields) == ("INVALID_ARGUMENT", reason, [field])


async def test_a_price_that_would_not_be_priced_is_refused(gateway: ServedGateway) -> None:
    price = flat_price()
    for _ in range(2):
        price.discounts.add(display_name="friends", rate_millionths=1)
    without_bound = price_pb2.PriceVersion(
        currency_code="USD",
        components=[
            price_pb2.PriceComponent(
                kind=price_pb2.PRICE_COMPONENT_KIND_PER_GPU_SECOND,
                tiers=[price_pb2.PriceTier(unit_price_nanos=1)],
            )
        ],
    )

    refused = [
        await refusal(
            gateway.operator.billing.CreatePriceVersion(
                billing_service_pb2.CreatePriceVersionRequest(
                    price_version=version, request_id=str(uuid4())
                )
            )
        )
        for version in (price, without_bound)
    ]

    assert [(answer.reason, answer.fields) for answer in refused] == [
        ("FIELD_VIOLATION", ["price_version.discounts"]),
        ("FIELD_VIOLATION", ["price_version.ceiling_bounds"]),
    ]
