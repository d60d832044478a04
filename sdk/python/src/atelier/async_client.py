"""The client for programs with an event loop."""

from collections.abc import AsyncGenerator, Iterable
from typing import Self, Unpack

from atelier.audit_calls import AuditCalls
from atelier.billing_calls import BillingCalls
from atelier.connection import Connection
from atelier.credentials import FetchedTokens, TokenFetcher
from atelier.fleet_calls import FleetCalls
from atelier.identity_calls import IdentityCalls
from atelier.image_calls import ImageCalls
from atelier.installation_calls import InstallationCalls
from atelier.job_calls import JobCalls, JobOptions, SpecLike
from atelier.margin_calls import MarginCalls
from atelier.names import OWN_TENANT
from atelier.retries import RetryPolicy
from atelier.settings import resolve_login
from atelier.tenant_calls import TenantCalls
from atelier.usage_calls import UsageCalls
from atelier.v1.image_pb2 import Image
from atelier.v1.job_service_pb2 import Job, WatchJobResponse


class AsyncClient(
    JobCalls,
    ImageCalls,
    UsageCalls,
    BillingCalls,
    MarginCalls,
    TenantCalls,
    IdentityCalls,
    FleetCalls,
    AuditCalls,
    InstallationCalls,
):
    """An installation, seen by one key. Make it inside the running event loop.

    Address and key come from the arguments, `ATELIER_ADDRESS` and `ATELIER_API_KEY`, or the file
    `atelier login` wrote. In place of a key `credentials` gives tokens of an identity provider: a
    function, or a coroutine function, that is asked again whenever the last one ends. Things are
    named by their ids or their whole resource names. Operators act for a tenant by `tenant`.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        api_key: str | None = None,
        credentials: TokenFetcher | None = None,
        tenant: str = OWN_TENANT,
        retry_policy: RetryPolicy | None = None,
        root_certificates: bytes | None = None,
    ) -> None:
        login = resolve_login(
            address=address, api_key=api_key, has_credentials=credentials is not None
        )
        connection = Connection(
            login,
            credentials=FetchedTokens(credentials) if credentials else None,
            retry_policy=retry_policy,
            root_certificates=root_certificates,
        )
        super().__init__(connection, tenant=tenant)

    async def create_job(
        self, specs: Iterable[SpecLike], **options: Unpack[JobOptions]
    ) -> "AsyncJobHandle":
        """Order pictures and hold on to the job: `async for image in job.images()`."""
        return AsyncJobHandle(self, await self.order_job(specs, **options))

    async def close(self) -> None:
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncJobHandle:
    """A job that was ordered; `resource` is the newest that is known of it."""

    def __init__(self, client: JobCalls, resource: Job) -> None:
        self.resource = resource
        self._client = client

    @property
    def name(self) -> str:
        return self.resource.name

    async def refresh(self) -> Job:
        self.resource = await self._client.get_job(self.name)
        return self.resource

    async def watch(self, *, previews: bool = False) -> AsyncGenerator[WatchJobResponse, None]:
        """Yield the job's news until it is finished."""
        async for news in self._client.watch_job(self.name, previews=previews):
            if news.HasField("job"):
                self.resource = news.job
            yield news

    def images(self) -> AsyncGenerator[Image, None]:
        """Yield each image once, as it finishes."""
        return self._client.finished_images(self.name)

    async def wait(self) -> Job:
        """Wait until nothing more happens by itself."""
        self.resource = await self._client.wait_for_job(self.name)
        return self.resource

    async def cancel(self) -> Job:
        self.resource = await self._client.cancel_job(self.name)
        return self.resource
