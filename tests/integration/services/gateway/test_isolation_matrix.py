"""Nobody learns anything of another tenant, whatever the call and whoever asks."""

import asyncio
import os
import time
from dataclasses import replace

import pytest

from atelier.v1 import api_key_service_pb2, model_service_pb2
from services.gateway.method_rights import RIGHTS
from tenants.api_keys import Role
from tests.integration.services.gateway.gateway_fixtures import (
    Client,
    ServedGateway,
    Studio,
    bind,
    refusal,
)
from tests.integration.services.gateway.identity_provider import (
    IdentityProvider,
    new_key,
)
from tests.integration.services.gateway.trusting_gateway import Trusting
from tests.isolation_matrix import document
from tests.isolation_matrix.calls import CALLS
from tests.isolation_matrix.contract_names import fields_with_names
from tests.isolation_matrix.matrix import Matrix, methods, name_of, naming_fields
from tests.isolation_matrix.rows import rows_of
from tests.isolation_matrix.world import Side, make_side

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 30.0
# Refused whatever it names: webhooks are not built yet.
NOT_SERVED = {"job.webhook"}


def test_every_call_of_the_contract_has_its_line_and_no_other_has() -> None:
    assert set(CALLS) == {name_of(method) for method in methods()}


def test_a_request_names_all_that_the_contract_lets_a_tenant_name() -> None:
    unnamed = {
        name_of(method): missing
        for method in methods()
        if Role.ADMIN in RIGHTS[f"/{method.containing_service.full_name}/{method.name}"].roles
        and (
            missing := fields_with_names(method.input_type.full_name)
            - set(naming_fields(CALLS[name_of(method)]))
            - NOT_SERVED
        )
    }

    assert unnamed == {}


async def test_nobody_learns_anything_of_another_tenant(trusted: Trusting) -> None:
    gateway, provider = trusted.gateway, trusted.provider
    asker, person, other, spare = [await make_side(gateway, issuer=provider.url) for _ in range(4)]
    matrix = Matrix(
        gateway=gateway,
        asker=asker,
        person=await with_a_token(gateway, provider, person),
        other=other,
        spare=spare,
        strangers=[
            await revoked_client(gateway, asker.studio),
            gateway.client(None),
            *wrong_tokens(gateway, provider),
        ],
    )
    before = await rows_of(gateway.admin_url, other.names.tenant)

    lines = await matrix.run()

    told = document.public_part(lines)
    if os.environ.get("ATELIER_WRITE_ISOLATION_MATRIX"):
        document.write(public=told)
    print(f"{matrix.cell_count} requests")
    assert matrix.problems == []
    assert await rows_of(gateway.admin_url, other.names.tenant) == before
    assert document.read().public == told, "make isolation-matrix"


async def with_a_token(gateway: ServedGateway, provider: IdentityProvider, side: Side) -> Side:
    """Let the side's admin come with a token."""
    await bind(gateway, side.studio.tenant_id, issuer=provider.url, role="KEY_ROLE_ADMIN")
    client = gateway.client(provider.token(exp=int(time.time()) + 1800))
    return replace(side, studio=replace(side.studio, admin=client))


def wrong_tokens(gateway: ServedGateway, provider: IdentityProvider) -> list[Client]:
    """Each is like the token that opens, but for one thing."""
    now = int(time.time())
    tokens = [
        provider.token(iat=now - 900, exp=now - 600),
        provider.token(aud="somebody-else"),
        provider.token(sub="nobody"),
        provider.token(new_key("first")),
    ]
    return [gateway.client(token) for token in tokens]


async def revoked_client(gateway: ServedGateway, studio: Studio) -> Client:
    """Revoke a key and wait until the gateway knows."""
    key = await gateway.new_key(studio.tenant_id, "KEY_ROLE_ADMIN")
    client = gateway.client(key)
    name = f"tenants/-/apiKeys/{key.split('_')[2]}"
    await studio.admin.api_keys.RevokeApiKey(api_key_service_pb2.RevokeApiKeyRequest(name=name))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        refused = await refusal(client.models.ListModels(model_service_pb2.ListModelsRequest()))
        if refused.reason == "KEY_REVOKED":
            return client
        assert time.monotonic() < deadline, refused
        await asyncio.sleep(0.05)
