"""What an operator binds, and what that opens."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from atelier.cli.main import run
from atelier.v1 import (
    api_key_service_pb2,
    identity_service_pb2,
)
from tests.integration.services.gateway.gateway_fixtures import (
    Refused,
    refusal,
)
from tests.integration.services.gateway.trusting_gateway import (
    Trusting,
    installation,
    list_models,
)

pytestmark = pytest.mark.integration

BINDINGS = identity_service_pb2.ListIdentityBindingsRequest


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


async def test_the_command_line_binds_lists_and_deletes(
    trusted: Trusting, capsys: pytest.CaptureFixture[str]
) -> None:
    acme = await trusted.gateway.new_tenant()
    where = ["--address", trusted.gateway.address, "--format", "json", "--tenant", acme.tenant_id]
    who = ["--api-key", trusted.gateway.operator.key or "", *where]

    async def told(*command: str) -> Any:
        assert await asyncio.to_thread(run, ["identities", *command, *who]) == 0
        lines = capsys.readouterr().out.splitlines()
        # The gateway's own log comes the same way in a test.
        return json.loads("".join(line for line in lines if not line.startswith("20")))

    made = await told("bind", trusted.provider.url, "somebody", "--role", "admin")
    await list_models(trusted.client())
    listed = await told("list")
    await told("delete", made["name"].rpartition("/")[2])
    left = await told("list")

    assert (made["claim"], made["claim_value"], made["role"]) == (
        "sub",
        "somebody",
        "KEY_ROLE_ADMIN",
    )
    assert [one["name"] for one in listed] == [made["name"]]
    assert left == []
