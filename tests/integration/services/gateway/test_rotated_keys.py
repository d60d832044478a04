"""Keys that get a new secret, keys of few networks, and their end on every gateway at once."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import grpc.aio
import pytest

from atelier.v1 import api_key_service_pb2, model_service_pb2
from database.pool import open_pool, tenant_transaction
from database.wakeups import Wakeups
from services.gateway.key_directory import StoredKeyDirectory
from services.gateway.key_lookups import KeyFacts, KeyLookups, LookupLimits
from tenants.api_key_store import revoke_key
from tenants.api_keys import new_key
from tenants.ids import KeyId, TenantId
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import (
    Client,
    ServedGateway,
    Studio,
    read_refusal,
    refusal,
    running_gateway,
)

pytestmark = pytest.mark.integration

MODELS = model_service_pb2.ListModelsRequest()
PATIENCE_SECONDS = 60.0


@pytest.fixture
async def other_gateway(
    postgres: Postgres, gateway: ServedGateway, short_directory: Path
) -> AsyncGenerator[ServedGateway]:
    """A second replica over the same database."""
    async with running_gateway(postgres, short_directory) as running:
        yield running


def rotation(
    key: str, *, grace: timedelta | None = None, request_id: str | None = None
) -> api_key_service_pb2.RotateApiKeyRequest:
    request = api_key_service_pb2.RotateApiKeyRequest(
        name=f"tenants/-/apiKeys/{id_of(key)}", request_id=request_id or str(uuid4())
    )
    if grace is not None:
        request.grace.FromTimedelta(grace)
    return request


def id_of(key: str) -> str:
    return key.split("_")[2]


async def reason_of(client: Client, key: str) -> str:
    """Call with a key; empty when it opens."""
    metadata = grpc.aio.Metadata(("authorization", f"Bearer {key}"))
    try:
        await client.models.ListModels(MODELS, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return read_refusal(error).reason
    return ""


async def until(client: Client, key: str, reason: str) -> None:
    """Call with a key until it is answered so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await reason_of(client, key) != reason:
            await asyncio.sleep(0.01)


async def test_a_rotated_key_has_two_live_secrets_and_never_three(
    gateway: ServedGateway, acme: Studio
) -> None:
    first = await gateway.new_key(acme.tenant_id, "KEY_ROLE_MEMBER")

    second = await acme.admin.api_keys.RotateApiKey(rotation(first, grace=timedelta(hours=1)))
    stranger = gateway.client(None)
    after_one = [await reason_of(stranger, secret) for secret in (first, second.secret)]
    third = await acme.admin.api_keys.RotateApiKey(rotation(first, grace=timedelta(hours=1)))
    await until(stranger, first, "KEY_INVALID")
    after_two = [await reason_of(stranger, secret) for secret in (second.secret, third.secret)]

    assert id_of(second.secret) == id_of(first)
    assert after_one == ["", ""]
    assert after_two == ["", ""]
    left = third.api_key.old_secret_expire_time.seconds - third.api_key.rotate_time.seconds
    assert 3500 <= left <= 3700


async def test_without_grace_the_old_secret_ends_at_once(
    gateway: ServedGateway, acme: Studio
) -> None:
    first = await gateway.new_key(acme.tenant_id, "KEY_ROLE_MEMBER")
    stranger = gateway.client(None)
    assert await reason_of(stranger, first) == ""

    second = await acme.admin.api_keys.RotateApiKey(rotation(first, grace=timedelta()))
    await until(stranger, first, "KEY_INVALID")

    assert await reason_of(stranger, second.secret) == ""
    assert not second.api_key.HasField("old_secret_expire_time")


async def test_unless_the_request_says_so_the_grace_is_the_installations(
    postgres: Postgres, short_directory: Path
) -> None:
    async with running_gateway(
        postgres, short_directory, key_rotation_grace_seconds=600.0
    ) as gateway:
        acme = await gateway.new_tenant()
        answer = await acme.admin.api_keys.RotateApiKey(rotation(acme.member.key or ""))

    left = answer.api_key.old_secret_expire_time.seconds - answer.api_key.rotate_time.seconds
    assert 500 <= left <= 700


async def test_the_new_secret_is_shown_once(gateway: ServedGateway, acme: Studio) -> None:
    request = rotation(acme.member.key or "", grace=timedelta(hours=1))

    first = await acme.admin.api_keys.RotateApiKey(request)
    second = await acme.admin.api_keys.RotateApiKey(request)

    assert (second.secret, second.secret_already_shown) == ("", True)
    assert second.api_key == first.api_key
    assert await reason_of(gateway.client(None), first.secret) == ""


async def test_a_key_that_has_ended_gets_no_new_secret(acme: Studio) -> None:
    key = acme.member.key or ""
    await acme.admin.api_keys.RevokeApiKey(
        api_key_service_pb2.RevokeApiKeyRequest(name=f"tenants/-/apiKeys/{id_of(key)}")
    )

    refused = await refusal(acme.admin.api_keys.RotateApiKey(rotation(key)))

    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "INVALID_STATE_TRANSITION")
    assert refused.metadata == {"state": "REVOKED"}


async def test_another_tenants_key_is_not_rotated(acme: Studio, zeta: Studio) -> None:
    request = rotation(acme.member.key or "")
    request.name = request.name.replace("tenants/-", f"tenants/{acme.tenant_id}")

    refused = await refusal(zeta.admin.api_keys.RotateApiKey(request))
    member = await refusal(acme.member.api_keys.RotateApiKey(request))

    assert (refused.code, refused.metadata) == ("NOT_FOUND", {"name": request.name})
    assert member.reason == "ROLE_REQUIRED"


# ------------------------------------------------------------------------------ revocation


async def test_a_key_revoked_at_one_gateway_is_refused_at_the_other(
    gateway: ServedGateway, other_gateway: ServedGateway, acme: Studio
) -> None:
    key = await gateway.new_key(acme.tenant_id, "KEY_ROLE_MEMBER")
    elsewhere = other_gateway.client(key)
    await elsewhere.models.ListModels(MODELS)

    await acme.admin.api_keys.RevokeApiKey(
        api_key_service_pb2.RevokeApiKeyRequest(name=f"tenants/-/apiKeys/{id_of(key)}")
    )

    # The key cache lives half a second, so after this every gateway has asked again.
    await asyncio.sleep(0.9)
    refused = await refusal(elsewhere.models.ListModels(MODELS))
    assert refused.reason == "KEY_REVOKED"


async def test_a_revocation_whose_notification_is_lost_is_bounded_by_the_cache(
    gateway: ServedGateway, other_gateway: ServedGateway, acme: Studio
) -> None:
    key = await gateway.new_key(acme.tenant_id, "KEY_ROLE_MEMBER")
    clients = [gateway.client(key), other_gateway.client(key)]
    for client in clients:
        await client.models.ListModels(MODELS)

    # Behind everybody's back: nobody is told.
    await gateway.change(
        "UPDATE api_keys SET revoke_time = now() WHERE key_id = %(key_id)s", key_id=id_of(key)
    )

    await asyncio.sleep(0.9)
    refused = [await refusal(client.models.ListModels(MODELS)) for client in clients]
    assert [answer.reason for answer in refused] == ["KEY_REVOKED", "KEY_REVOKED"]


async def test_the_word_of_a_revocation_reaches_a_cache_that_would_believe_for_an_hour(
    postgres: Postgres, acme: Studio
) -> None:
    key_id = KeyId(id_of(acme.member.key or ""))
    async with open_pool(postgres.url("atelier_gateway")) as pool:
        lookups = KeyLookups(StoredKeyDirectory(pool), LookupLimits(cache_seconds=3600.0))
        listening, heard = asyncio.Event(), asyncio.Event()

        def hear(subject: str) -> None:
            lookups.forget(subject)
            (heard if subject == key_id else listening).set()

        news = Wakeups(postgres.url("atelier_gateway"), channel="atelier_keys", heard=hear)
        async with news.listening(), asyncio.timeout(PATIENCE_SECONDS):
            await listening.wait()
            before = await lookups.find(key_id)
            async with tenant_transaction(pool, acme.tenant_id) as conn:
                await revoke_key(conn, tenant_id=TenantId(acme.tenant_id), key_id=key_id)
            await heard.wait()
            after = await lookups.find(key_id)

    assert before is not None
    assert before.key.revoke_time is None
    assert after is not None
    assert after.key.revoke_time is not None


# ------------------------------------------------------------------------------ networks


async def key_of_networks(acme: Studio, networks: Sequence[str]) -> str:
    answer = await acme.admin.api_keys.CreateApiKey(
        api_key_service_pb2.CreateApiKeyRequest(
            parent="tenants/-",
            api_key=api_key_service_pb2.ApiKey(allowed_networks=networks),
            request_id=str(uuid4()),
        )
    )
    return answer.secret


async def test_a_key_opens_only_from_where_it_may_be_used(
    gateway: ServedGateway, acme: Studio
) -> None:
    here = await key_of_networks(acme, ["2001:db8::/32", "127.0.0.0/8", "::1"])
    elsewhere = await key_of_networks(acme, ["192.0.2.0/24"])

    assert await reason_of(gateway.client(None), here) == ""
    refused = await refusal(gateway.client(elsewhere).models.ListModels(MODELS))
    listed = await acme.admin.api_keys.ListApiKeys(
        api_key_service_pb2.ListApiKeysRequest(parent="tenants/-", page_size=1)
    )

    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "ADDRESS_NOT_ALLOWED")
    assert list(listed.api_keys[0].allowed_networks) == ["192.0.2.0/24"]


@pytest.mark.parametrize("network", ["studio", "192.0.2.1/24", "192.0.2.0/33", ""])
async def test_what_is_no_network_is_refused(acme: Studio, network: str) -> None:
    refused = await refusal(key_of_networks(acme, ["10.0.0.0/8", network]))

    assert (refused.reason, refused.fields) == ("FIELD_VIOLATION", ["api_key.allowed_networks[1]"])


async def test_a_forwarded_address_counts_only_from_a_proxy_that_is_trusted(
    postgres: Postgres, gateway: ServedGateway, acme: Studio, short_directory: Path
) -> None:
    key = await key_of_networks(acme, ["198.51.100.0/24"])
    metadata = grpc.aio.Metadata(
        ("authorization", f"Bearer {key}"), ("x-forwarded-for", "198.51.100.7")
    )

    refused = await refusal(gateway.client(None).models.ListModels(MODELS, metadata=metadata))
    async with running_gateway(
        postgres, short_directory, trusted_proxies=["127.0.0.0/8"]
    ) as behind:
        answer = await behind.client(None).models.ListModels(MODELS, metadata=metadata)

    assert refused.reason == "ADDRESS_NOT_ALLOWED"
    assert answer.models


# ------------------------------------------------------------------------------ a flood


async def test_forged_keys_write_nothing_and_ask_the_database_little(
    postgres: Postgres, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Well-formed keys with right checksums and ids that nobody has."""
    asked: list[KeyId] = []
    find = StoredKeyDirectory.find

    async def counted(self: StoredKeyDirectory, key_id: KeyId) -> KeyFacts | None:
        asked.append(key_id)
        return await find(self, key_id)

    monkeypatch.setattr(StoredKeyDirectory, "find", counted)
    async with running_gateway(
        postgres, short_directory, unknown_key_lookups_per_minute_max=60
    ) as gateway:
        acme = await gateway.new_tenant(credit_nanos=0)
        await acme.member.models.ListModels(MODELS)
        forged = [new_key(pepper=b"not the installation's").text for _ in range(300)]
        stranger = gateway.client(None)
        reasons = [await reason_of(stranger, key) for key in forged]
        genuine = await acme.member.models.ListModels(MODELS)
        events = await gateway.rows(
            "SELECT count(*) FROM audit_events WHERE tenant_id = %(tenant_id)s",
            tenant_id=acme.tenant_id,
        )

    asked_for_forged = set(asked) & {id_of(key) for key in forged}
    assert genuine.models
    assert set(reasons) == {"KEY_INVALID", "RATE_LIMITED"}
    # Ten may come at once and one each second after that; the machine may be slow.
    assert 1 <= len(asked_for_forged) < 150
    # Its making and its two keys.
    assert events == [(3,)]
