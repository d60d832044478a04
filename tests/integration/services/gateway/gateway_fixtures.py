"""What the tests of the gateway share: one on a socket, tenants of their own, refusals."""

import secrets
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import grpc
import grpc.aio
import psycopg
import pytest
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from pydantic import SecretStr

from atelier.v1 import (
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    audit_service_pb2_grpc,
    billing_service_pb2,
    billing_service_pb2_grpc,
    fleet_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
    image_pb2,
    image_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2_grpc,
    money_pb2,
    price_pb2,
    tenant_service_pb2,
    tenant_service_pb2_grpc,
    usage_service_pb2_grpc,
)
from services.gateway.bootstrap import make_first_operator_key
from services.gateway.serving import serving
from services.gateway.settings import Settings
from tests.integration.fixture_types import Postgres

Answer = TypeVar("Answer")

PEPPER = "a pepper for tests, 32 characters"
CATALOGUE = """
[test-model]
display_name = "Test model"
source = "random-checkpoint"
precision = "fp32 cpu"
backend = "torch on cpu"
width = { min = 64, max = 512, default = 128 }
height = { min = 64, max = 512, default = 128 }
pixels_max = 131072
num_inference_steps = { min = 1, max = 50, default = 4 }
guidance_scale = { min = 0.0, max = 10.0, default = 4.5 }
max_sequence_length = { min = 16, max = 256, default = 77 }
batch_slots = 2
interactive_slots = 1

[other-model]
display_name = "Another"
source = "random-checkpoint"
precision = "fp32 cpu"
width = { min = 64, max = 128, default = 64 }
height = { min = 64, max = 128, default = 64 }
pixels_max = 16384
num_inference_steps = { min = 1, max = 50, default = 4 }
guidance_scale = { min = 0.0, max = 10.0, default = 4.5 }
max_sequence_length = { min = 16, max = 256, default = 77 }
batch_slots = 1
interactive_slots = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What a caller learns from an error."""

    code: str
    reason: str
    domain: str
    metadata: dict[str, str]
    fields: list[str]
    retry_seconds: float | None
    quota_subjects: list[str]
    message: str
    # Type, subject and description of each.
    preconditions: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])


async def refusal(call: Awaitable[Any]) -> Refused:
    """Await a call that must be refused, and read its status."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return read_refusal(raised.value)


def read_refusal(error: grpc.aio.AioRpcError) -> Refused:
    metadata: dict[str, Any] = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    quota = error_details_pb2.QuotaFailure()
    preconditions = error_details_pb2.PreconditionFailure()
    unpacked = {
        type(part): [detail.Unpack(part) for detail in status.details]
        for part in (info, bad_request, retry, quota, preconditions)
    }
    return Refused(
        code=error.code().name,
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        fields=[violation.field for violation in bad_request.field_violations],
        retry_seconds=retry.retry_delay.ToTimedelta().total_seconds()
        if any(unpacked[error_details_pb2.RetryInfo])
        else None,
        quota_subjects=[violation.subject for violation in quota.violations],
        message=status.message,
        preconditions=[
            (violation.type, violation.subject, violation.description)
            for violation in preconditions.violations
        ],
    )


async def read_all(stream: Any) -> list[Any]:
    """Read a stream to its end."""
    return [message async for message in stream]


async def read_one(stream: Any) -> Any:
    """Read the next message of a stream."""
    return await stream.read()


class Client:
    """All stubs of one channel with one key."""

    def __init__(self, address: str, key: str | None) -> None:
        self.key = key
        interceptor = _KeyInterceptor(key)
        self.channel = grpc.aio.insecure_channel(
            address,
            interceptors=[interceptor, _StreamKeyInterceptor(key)],
            options=[("grpc.max_receive_message_length", 64 * 1024 * 1024)],
        )
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.images = image_service_pb2_grpc.ImageServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.usage = usage_service_pb2_grpc.UsageServiceStub(self.channel)
        self.billing = billing_service_pb2_grpc.BillingServiceStub(self.channel)
        self.tenants = tenant_service_pb2_grpc.TenantServiceStub(self.channel)
        self.api_keys = api_key_service_pb2_grpc.ApiKeyServiceStub(self.channel)
        self.identities = identity_service_pb2_grpc.IdentityServiceStub(self.channel)
        self.audit = audit_service_pb2_grpc.AuditServiceStub(self.channel)
        self.fleet = fleet_service_pb2_grpc.FleetServiceStub(self.channel)

    async def send(self, method: str, raw: bytes) -> Any:
        """Send bytes to a method, whatever they are."""
        channel: Any = self.channel
        return await channel.unary_unary(method)(raw)


class _KeyInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, key: str | None) -> None:
        self._key = key

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(_with_key(client_call_details, self._key), request)


class _StreamKeyInterceptor(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, key: str | None) -> None:
        self._key = key

    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(_with_key(client_call_details, self._key), request)


def _with_key(details: Any, key: str | None) -> Any:
    if key is None:
        return details
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata.add("authorization", f"Bearer {key}")
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedGateway:
    """A gateway that serves, with an operator's client."""

    address: str
    operator: Client
    admin_url: str
    objects_directory: Path
    # A channel closes when nobody holds it any more.
    clients: list[Client] = field(default_factory=list[Client])

    def client(self, key: str | None) -> Client:
        client = Client(self.address, key)
        self.clients.append(client)
        return client

    async def close_clients(self) -> None:
        for client in [self.operator, *self.clients]:
            await client.channel.close()

    async def new_tenant(self, *, credit_nanos: int = 10**12, **tenant: Any) -> "Studio":
        """Make a tenant with credit, a member's and an admin's key."""
        tenant_id = f"t{secrets.token_hex(6)}"
        await self.operator.tenants.CreateTenant(
            tenant_service_pb2.CreateTenantRequest(
                tenant_id=tenant_id,
                tenant=tenant_service_pb2.Tenant(display_name="Test", **tenant),
                request_id=str(uuid4()),
            )
        )
        if credit_nanos:
            await self.grant(tenant_id, credit_nanos)
        return Studio(
            tenant_id=tenant_id,
            member=self.client(await self.new_key(tenant_id, "KEY_ROLE_MEMBER")),
            admin=self.client(await self.new_key(tenant_id, "KEY_ROLE_ADMIN")),
        )

    async def grant(self, tenant_id: str, nanos: int) -> None:
        await self.operator.billing.GrantCredit(
            billing_service_pb2.GrantCreditRequest(
                parent=f"tenants/{tenant_id}",
                amount=money_pb2.Money(currency_code="USD", nanos=nanos),
                request_id=str(uuid4()),
            )
        )

    async def new_key(self, tenant_id: str, role: str) -> str:
        answer = await self.operator.api_keys.CreateApiKey(
            api_key_service_pb2.CreateApiKeyRequest(
                parent=f"tenants/{tenant_id}",
                api_key=api_key_service_pb2.ApiKey(
                    role=api_key_service_pb2.KeyRole.Value(role), project="spring"
                ),
                request_id=str(uuid4()),
            )
        )
        return answer.secret

    async def change(self, statement: str, **parameters: Any) -> None:
        """Change the database as its administrator, behind the gateway's back."""
        async with await psycopg.AsyncConnection.connect(self.admin_url) as connection:
            await connection.execute(statement.encode(), parameters)

    async def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the database as its administrator, who sees everything."""
        async with await psycopg.AsyncConnection.connect(self.admin_url) as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """A tenant with clients of both roles."""

    tenant_id: str
    member: Client
    admin: Client


async def bind(
    gateway: ServedGateway,
    tenant_id: str,
    *,
    issuer: str,
    subject: str = "somebody",
    **binding: Any,
) -> str:
    """Let an operator bind what a provider says of somebody; returns the binding's name."""
    said: dict[str, Any] = {"issuer": issuer, "claim_value": subject} | binding
    made = await gateway.operator.identities.CreateIdentityBinding(
        identity_service_pb2.CreateIdentityBindingRequest(
            parent=f"tenants/{tenant_id}",
            identity_binding=identity_service_pb2.IdentityBinding(**said),
            request_id=str(uuid4()),
        )
    )
    return made.name


def image_spec(**changes: Any) -> image_pb2.ImageSpec:
    wanted: dict[str, Any] = {"prompt": "a red bicycle"} | changes
    return image_pb2.ImageSpec(**wanted)


def create_job(
    *specs: job_service_pb2.JobSpec,
    request_id: str | None = None,
    parent: str = "tenants/-",
    **job: Any,
) -> job_service_pb2.CreateJobRequest:
    """A request for a job; of one image unless specs are given."""
    return job_service_pb2.CreateJobRequest(
        parent=parent,
        job=job_service_pb2.Job(
            specs=specs or [job_service_pb2.JobSpec(image=image_spec())], **job
        ),
        request_id=request_id or str(uuid4()),
    )


def spec(count: int = 1, **changes: Any) -> job_service_pb2.JobSpec:
    return job_service_pb2.JobSpec(image=image_spec(**changes), count=count)


def flat_price(nanos_per_image: int = 1_000_000) -> price_pb2.PriceVersion:
    return price_pb2.PriceVersion(
        currency_code="USD",
        components=[
            price_pb2.PriceComponent(
                kind=price_pb2.PRICE_COMPONENT_KIND_PER_IMAGE,
                tiers=[price_pb2.PriceTier(unit_price_nanos=nanos_per_image)],
            )
        ],
    )


def gateway_settings(postgres: Postgres, directory: Path, **changes: Any) -> Settings:
    catalogue = directory / "models.toml"
    catalogue.write_text(CATALOGUE)
    (directory / "objects").mkdir(exist_ok=True)
    values: dict[str, Any] = {
        "listen_address": "127.0.0.1:0",
        "database_url": SecretStr(postgres.url("atelier_gateway")),
        "operator_database_url": SecretStr(postgres.url("atelier_operator")),
        "run_directory": directory,
        "objects_url": (directory / "objects").as_uri(),
        "model_catalogue_path": catalogue,
        "key_pepper": SecretStr(PEPPER),
        "page_token_secret": SecretStr("a secret for tests, 32 characters"),
        "drain_seconds": 2.0,
        "stranger_hold_seconds": 0.0,
    }
    return Settings(**(values | changes))


@asynccontextmanager
async def running_gateway(
    postgres: Postgres, directory: Path, **changes: Any
) -> AsyncGenerator[ServedGateway]:
    """Serve with an operator's key and a price for everybody."""
    settings = gateway_settings(postgres, directory, **changes)
    key = await make_first_operator_key(
        postgres.url("atelier_operator"), pepper=PEPPER.encode(), another=True
    )
    async with serving(settings) as port:
        address = f"127.0.0.1:{port}"
        gateway = ServedGateway(
            address=address,
            operator=Client(address, key),
            admin_url=postgres.admin_url,
            objects_directory=directory / "objects",
        )
        await gateway.operator.billing.CreatePriceVersion(
            billing_service_pb2.CreatePriceVersionRequest(
                price_version=flat_price(), request_id=str(uuid4())
            )
        )
        try:
            yield gateway
        finally:
            await gateway.close_clients()
