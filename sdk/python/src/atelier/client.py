"""The client for programs without an event loop: the async client's verbs, waited for."""

from collections.abc import Iterable
from typing import Self, Unpack

from atelier.async_client import AsyncClient, AsyncJobHandle
from atelier.blocking import BackgroundLoop, Blocking, BlockingIterator, shared_loop
from atelier.credentials import TokenFetcher
from atelier.job_calls import JobOptions, SpecLike
from atelier.names import OWN_TENANT
from atelier.retries import RetryPolicy
from atelier.v1.job_service_pb2 import Job


class JobHandle:
    """A job that was ordered; `resource` is the newest that is known of it."""

    def __init__(self, loop: BackgroundLoop, target: AsyncJobHandle) -> None:
        self.loop = loop
        self.target = target

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def resource(self) -> Job:
        return self.target.resource

    refresh = Blocking(AsyncJobHandle.refresh)
    watch = BlockingIterator(AsyncJobHandle.watch)
    images = BlockingIterator(AsyncJobHandle.images)
    wait = Blocking(AsyncJobHandle.wait)
    cancel = Blocking(AsyncJobHandle.cancel)


class Client:
    """An installation, seen by one key. Safe to use from several threads.

    The parameters are those of `AsyncClient`, and so are the verbs.
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
        async def make() -> AsyncClient:
            return AsyncClient(
                address,
                api_key=api_key,
                credentials=credentials,
                tenant=tenant,
                retry_policy=retry_policy,
                root_certificates=root_certificates,
            )

        self.loop = shared_loop()
        self.target = self.loop.run(make())

    def create_job(self, specs: Iterable[SpecLike], **options: Unpack[JobOptions]) -> JobHandle:
        """Order pictures and hold on to the job: `for image in job.images()`."""
        return JobHandle(self.loop, self.loop.run(self.target.create_job(specs, **options)))

    def close(self) -> None:
        self.loop.run(self.target.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # JobService
    order_job = Blocking(AsyncClient.order_job)
    quote_job = Blocking(AsyncClient.quote_job)
    get_job = Blocking(AsyncClient.get_job)
    list_jobs = BlockingIterator(AsyncClient.list_jobs)
    jobs_page = Blocking(AsyncClient.jobs_page)
    cancel_job = Blocking(AsyncClient.cancel_job)
    retry_failed_images = Blocking(AsyncClient.retry_failed_images)
    watch_job = BlockingIterator(AsyncClient.watch_job)
    finished_images = BlockingIterator(AsyncClient.finished_images)
    wait_for_job = Blocking(AsyncClient.wait_for_job)
    list_images = BlockingIterator(AsyncClient.list_images)
    images_page = Blocking(AsyncClient.images_page)
    get_image = Blocking(AsyncClient.get_image)
    download_image = Blocking(AsyncClient.download_image)
    save_image = Blocking(AsyncClient.save_image)
    generate = Blocking(AsyncClient.generate)

    # ImageService and ModelService
    stream_image = BlockingIterator(AsyncClient.stream_image)
    list_models = BlockingIterator(AsyncClient.list_models)
    get_model = Blocking(AsyncClient.get_model)

    # UsageService
    list_usage_records = BlockingIterator(AsyncClient.list_usage_records)
    query_usage = Blocking(AsyncClient.query_usage)
    export_usage = Blocking(AsyncClient.export_usage)

    # BillingService
    get_balance = Blocking(AsyncClient.get_balance)
    list_transfers = BlockingIterator(AsyncClient.list_transfers)
    grant_credit = Blocking(AsyncClient.grant_credit)
    refund_credit = Blocking(AsyncClient.refund_credit)
    list_prices = BlockingIterator(AsyncClient.list_prices)
    create_price_version = Blocking(AsyncClient.create_price_version)
    simulate_price = Blocking(AsyncClient.simulate_price)
    create_cost_version = Blocking(AsyncClient.create_cost_version)
    list_costs = BlockingIterator(AsyncClient.list_costs)
    query_margin = Blocking(AsyncClient.query_margin)
    list_invoices = BlockingIterator(AsyncClient.list_invoices)
    get_invoice = Blocking(AsyncClient.get_invoice)
    download_invoice = Blocking(AsyncClient.download_invoice)
    finalize_invoice = Blocking(AsyncClient.finalize_invoice)
    record_payment = Blocking(AsyncClient.record_payment)
    void_invoice = Blocking(AsyncClient.void_invoice)
    create_credit_note = Blocking(AsyncClient.create_credit_note)
    set_budget = Blocking(AsyncClient.set_budget)
    list_budgets = BlockingIterator(AsyncClient.list_budgets)
    verify_ledger = Blocking(AsyncClient.verify_ledger)

    # TenantService and ApiKeyService
    create_tenant = Blocking(AsyncClient.create_tenant)
    get_tenant = Blocking(AsyncClient.get_tenant)
    list_tenants = BlockingIterator(AsyncClient.list_tenants)
    update_tenant = Blocking(AsyncClient.update_tenant)
    suspend_tenant = Blocking(AsyncClient.suspend_tenant)
    resume_tenant = Blocking(AsyncClient.resume_tenant)
    delete_tenant = Blocking(AsyncClient.delete_tenant)
    update_tenant_settings = Blocking(AsyncClient.update_tenant_settings)
    create_api_key = Blocking(AsyncClient.create_api_key)
    list_api_keys = BlockingIterator(AsyncClient.list_api_keys)
    rotate_api_key = Blocking(AsyncClient.rotate_api_key)
    revoke_api_key = Blocking(AsyncClient.revoke_api_key)

    # IdentityService
    create_identity_binding = Blocking(AsyncClient.create_identity_binding)
    list_identity_bindings = BlockingIterator(AsyncClient.list_identity_bindings)
    delete_identity_binding = Blocking(AsyncClient.delete_identity_binding)

    # FleetService
    get_energy_reconciliation = BlockingIterator(AsyncClient.get_energy_reconciliation)
    list_gpus = BlockingIterator(AsyncClient.list_gpus)
    watch_gpus = BlockingIterator(AsyncClient.watch_gpus)
    list_workers = Blocking(AsyncClient.list_workers)
    drain_worker = Blocking(AsyncClient.drain_worker)
    set_power_policy = Blocking(AsyncClient.set_power_policy)

    # AuditService
    list_audit_events = BlockingIterator(AsyncClient.list_audit_events)

    # InstallationService
    get_installation = Blocking(AsyncClient.get_installation)
    verify_installation = BlockingIterator(AsyncClient.verify_installation)
