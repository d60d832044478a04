"""A gateway that trusts a small identity provider, and what its tests ask of it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from atelier.v1 import (
    installation_service_pb2,
    installation_service_pb2_grpc,
    model_service_pb2,
)
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import (
    Client,
    ServedGateway,
    bind,
    running_gateway,
)
from tests.integration.services.gateway.identity_provider import IdentityProvider

PATIENCE_SECONDS = 60.0


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
