"""Signed tokens of an identity provider open the door, and nothing but what they are bound to."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from atelier.v1 import (
    api_key_service_pb2,
    billing_service_pb2,
    identity_service_pb2,
    installation_service_pb2,
    installation_service_pb2_grpc,
    job_service_pb2,
    model_service_pb2,
    money_pb2,
    tenant_service_pb2,
)
from atelier.v1.audit_service_pb2 import AuditEvent, ListAuditEventsRequest
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import (
    Client,
    Refused,
    ServedGateway,
    bind,
    create_job,
    read_all,
    refusal,
    running_gateway,
)
from tests.integration.services.gateway.identity_provider import (
    IdentityProvider,
    new_key,
    running_provider,
)

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60.0
BINDINGS = identity_service_pb2.ListIdentityBindingsRequest


@pytest.fixture
def provider(tmp_path: Path) -> Generator[IdentityProvider]:
    with running_provider(tmp_path) as running:
        yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusting:
    """A gateway that trusts a provider."""

    gateway: ServedGateway
    provider: IdentityProvider

    async def bind(self, tenant_id: str, **binding: Any) -> str:
        return await bind(self.gateway, tenant_id, issuer=self.provider.url, **binding)

    def client(self, **token: Any) -> Client:
        return self.gateway.client(self.provider.token(**token))


@asynccontextmanager
async def trusting(
    postgres: Postgres, directory: Path, provider: IdentityProvider, **issuer: Any
) -> AsyncGenerator[Trusting]:
    path = provider.issuers_file(directory / "issuers.toml", **issuer)
    async with running_gateway(postgres, directory, issuers_path=path) as gateway:
        yield Trusting(gateway=gateway, provider=provider)


@pytest.fixture
async def trusted(
    postgres: Postgres, short_directory: Path, provider: IdentityProvider
) -> AsyncGenerator[Trusting]:
    async with trusting(postgres, short_directory, provider) as running:
        yield running


def installation(client: Client) -> Any:
    stub = installation_service_pb2_grpc.InstallationServiceStub(client.channel)
    return stub.GetInstallation(installation_service_pb2.GetInstallationRequest())


def list_models(client: Client) -> Any:
    return client.models.ListModels(model_service_pb2.ListModelsRequest())


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():
            await asyncio.sleep(0.05)


async def is_refused_with(client: Client, code: str) -> bool:
    try:
        await list_models(client)
    except grpc.aio.AioRpcError as error:
        return error.code().name == code
    return code == "OK"


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


async def test_a_deleted_binding_ends_calls_and_streams_within_a_second_on_every_replica(
    trusted: Trusting, postgres: Postgres, short_directory: Path
) -> None:
    acme = await trusted.gateway.new_tenant()
    name = await trusted.bind(acme.tenant_id)
    async with trusting(postgres, short_directory, trusted.provider) as replica:
        clients = [trusted.client(), replica.client()]
        job = await clients[0].jobs.CreateJob(create_job())
        watch = clients[1].jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))
        await watch.read()

        await acme.admin.identities.DeleteIdentityBinding(
            identity_service_pb2.DeleteIdentityBindingRequest(name=name)
        )
        await asyncio.sleep(0.9)
        refused = [await refusal(list_models(client)) for client in clients]
        ended = await asyncio.wait_for(refusal(read_all(watch)), timeout=PATIENCE_SECONDS)

    assert [one.reason for one in (*refused, ended)] == ["KEY_INVALID"] * 3


async def test_a_stream_ends_with_the_token_that_opened_it(
    postgres: Postgres, short_directory: Path, provider: IdentityProvider
) -> None:
    async with trusting(postgres, short_directory, provider, leeway_seconds=0) as trusted:
        acme = await trusted.gateway.new_tenant()
        await trusted.bind(acme.tenant_id)
        client = trusted.client(exp=int(time.time()) + 2)
        job = await acme.member.jobs.CreateJob(create_job())
        watch = client.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))

        ended = await asyncio.wait_for(refusal(read_all(watch)), timeout=PATIENCE_SECONDS)

    assert ended.reason == "KEY_INVALID"


async def test_keys_change_while_the_gateway_serves_and_outlast_the_provider(
    postgres: Postgres, short_directory: Path, provider: IdentityProvider
) -> None:
    async with trusting(postgres, short_directory, provider, refresh_seconds=1) as trusted:
        acme = await trusted.gateway.new_tenant()
        await trusted.bind(acme.tenant_id)
        old, new = provider.keys[0], new_key("new")
        by_old, by_new = trusted.client(key=old), trusted.client(key=new)
        await list_models(by_old)

        provider.keys = [old, new]
        await until(lambda: is_refused_with(by_new, "OK"))
        provider.keys = [new]
        await until(lambda: is_refused_with(by_old, "UNAUTHENTICATED"))
        provider.is_down = True
        unknown = trusted.client(key=new_key("newer"))
        await until(lambda: is_refused_with(unknown, "UNAVAILABLE"))
        still = await is_refused_with(by_new, "OK")
        away = await refusal(list_models(unknown))

    assert still
    assert (away.reason, away.message) == (
        "BACKEND_DOWN",
        "the identity provider is not reachable",
    )


async def test_a_provider_within_the_walls_is_not_asked_unless_the_operator_says_so(
    postgres: Postgres, short_directory: Path, provider: IdentityProvider
) -> None:
    async with trusting(postgres, short_directory, provider, private_networks=[]) as trusted:
        refused = await refusal(list_models(trusted.client()))

    assert refused.code == "UNAVAILABLE"
    assert provider.paths_asked == []


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


async def test_groups_open_one_tenant_and_a_person_may_get_less_than_the_group(
    trusted: Trusting,
) -> None:
    acme, zeta = [await trusted.gateway.new_tenant() for _ in range(2)]
    await trusted.bind(acme.tenant_id, claim="groups", subject="red", role="KEY_ROLE_ADMIN")
    await trusted.bind(zeta.tenant_id, claim="groups", subject="blue")
    await trusted.bind(acme.tenant_id, subject="trainee")

    red = await installation(trusted.client(groups=["red", "green"]))
    trainee = await installation(trusted.client(sub="trainee", groups="red"))
    both = await refusal(list_models(trusted.client(groups=["red", "blue"])))
    by_name = await refusal(list_models(trusted.client(tenant=acme.tenant_id, groups=["green"])))

    admin, member = api_key_service_pb2.KEY_ROLE_ADMIN, api_key_service_pb2.KEY_ROLE_MEMBER
    assert (red.tenant, red.role) == (f"tenants/{acme.tenant_id}", admin)
    assert (trainee.tenant, trainee.role) == (f"tenants/{acme.tenant_id}", member)
    assert [both.reason, by_name.reason] == ["KEY_INVALID"] * 2


async def test_a_claim_is_bound_once_and_only_as_the_installation_admits(
    trusted: Trusting,
) -> None:
    acme, zeta = [await trusted.gateway.new_tenant() for _ in range(2)]
    identities = trusted.gateway.operator.identities
    request = identity_service_pb2.CreateIdentityBindingRequest(
        parent=f"tenants/{acme.tenant_id}",
        identity_binding=identity_service_pb2.IdentityBinding(
            issuer=trusted.provider.url, claim_value="somebody", allowed_networks=["::/0"]
        ),
        request_id=str(uuid4()),
    )

    made = await identities.CreateIdentityBinding(request)
    again = await identities.CreateIdentityBinding(request)
    listed = await acme.admin.identities.ListIdentityBindings(BINDINGS(parent="tenants/-"))
    wrong = {
        name: await wrong_binding(trusted, zeta.tenant_id, **changes)
        for name, changes in {
            "bound": {},
            "issuer": {"issuer": "https://evil.example"},
            "claim": {"claim": "email"},
            "value": {"claim_value": "some\u200bbody"},
            "role": {"role": "KEY_ROLE_OPERATOR"},
            "networks": {"allowed_networks": ["10.0.0.1/8"]},
        }.items()
    }
    nowhere = await wrong_binding(trusted, "nobody", claim_value="else")

    assert made == again
    assert list(listed.identity_bindings) == [made]
    assert (made.claim, made.role) == ("sub", api_key_service_pb2.KEY_ROLE_MEMBER)
    assert wrong.pop("bound").reason == "RESOURCE_EXISTS"
    assert {name: refused.fields for name, refused in wrong.items()} == {
        "issuer": ["identity_binding.issuer"],
        "claim": ["identity_binding.claim"],
        "value": ["identity_binding.claim_value"],
        "role": ["identity_binding.role"],
        "networks": ["identity_binding.allowed_networks[0]"],
    }
    assert nowhere.code == "NOT_FOUND"


async def wrong_binding(trusted: Trusting, tenant_id: str, **changes: Any) -> Refused:
    said: dict[str, Any] = {"issuer": trusted.provider.url, "claim_value": "somebody"} | changes
    return await refusal(
        trusted.gateway.operator.identities.CreateIdentityBinding(
            identity_service_pb2.CreateIdentityBindingRequest(
                parent=f"tenants/{tenant_id}",
                identity_binding=identity_service_pb2.IdentityBinding(**said),
                request_id=str(uuid4()),
            )
        )
    )
