"""Ordering images: a job is accepted once, and its tokens follow the commit."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from atelier.v1 import job_service_pb2
from database.pool import Connection, Pool, tenant_transaction
from metering.errors import InsufficientBalanceError
from services.gateway.acceptance import (
    Wish,
    accept,
    check_balance,
    tenant_of_caller,
    tenant_who_orders,
    tokens_of,
)
from services.gateway.backlogs import forecasts
from services.gateway.callers import Caller
from services.gateway.errors import not_found
from services.gateway.finish_forecast import NOTHING_KNOWN
from services.gateway.job_messages import job_message
from services.gateway.job_prices import prices_of_jobs
from services.gateway.once import OnceKey
from services.gateway.scopes import JobName, named_job
from services.gateway.token_dispatch import TokenDispatch
from services.jobs import job_store
from services.jobs.records import Job
from services.jobs.requests import claim_request, complete_request
from tenants.ids import TenantId


class JobOrders:
    """Accepts jobs for the services that order images."""

    def __init__(self, *, pool: Pool, dispatch: TokenDispatch, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._dispatch = dispatch
        self._now = now

    async def order(
        self, once: OnceKey, caller: Caller, read_wish: Callable[[Connection], Awaitable[Wish]]
    ) -> job_service_pb2.Job:
        """Accept a job once; the same request again gets the job it made.

        Raises:
            CallRefusedError: what is wrong with the wish, or why it cannot be had now.
        """
        try:
            async with tenant_transaction(self._pool, caller.tenant_id) as conn:
                made = await claim_request(
                    conn,
                    tenant_id=caller.tenant_id,
                    request_id=once.request_id,
                    method=once.method,
                    body_sha256=once.body_sha256,
                )
                if made is not None:
                    return await read_job_message(conn, named_job(caller, made))
                wish = await read_wish(conn)
                job = await self._accept(conn, once, wish, caller)
                (answer,) = await job_messages(conn, caller.tenant_id, [job])
        except InsufficientBalanceError as error:
            await self._explain_balance(caller, error)
            raise
        self._dispatch.publish_soon(caller.tenant_id, tokens_of(wish))
        return answer

    async def _accept(self, conn: Connection, once: OnceKey, wish: Wish, caller: Caller) -> Job:
        tenant = await tenant_who_orders(conn, caller)
        job = await accept(conn, tenant, wish, caller=caller, now=self._now())
        await complete_request(
            conn,
            tenant_id=caller.tenant_id,
            request_id=once.request_id,
            resource_name=JobName(tenant_id=job.tenant_id, job_id=job.job_id).text,
        )
        return job

    async def _explain_balance(self, caller: Caller, error: InsufficientBalanceError) -> None:
        """Say how much there is; the transaction that was refused can no longer be asked."""
        async with tenant_transaction(self._pool, caller.tenant_id) as conn:
            tenant = await tenant_of_caller(conn, caller)
            await check_balance(conn, tenant, error.needed_nanos)


async def find_job(conn: Connection, name: JobName) -> Job | None:
    """Find a job by its name."""
    return await job_store.get_job(conn, tenant_id=name.tenant_id, job_id=name.job_id)


async def read_job_message(conn: Connection, name: JobName) -> job_service_pb2.Job:
    """Read a job as its tenant sees it.

    Raises:
        CallRefusedError: NOT_FOUND.
    """
    job = await find_job(conn, name)
    if job is None:
        raise not_found(name.text)
    return (await job_messages(conn, name.tenant_id, [job]))[0]


async def job_messages(
    conn: Connection, tenant_id: TenantId, jobs: Sequence[Job]
) -> list[job_service_pb2.Job]:
    """Write jobs of a tenant with what they cost so far and what lies before them."""
    prices = await prices_of_jobs(conn, tenant_id=tenant_id, job_ids=[job.job_id for job in jobs])
    expected = await forecasts(conn, tenant_id, jobs)
    return [
        job_message(
            job,
            price_nanos=prices.get(job.job_id, 0),
            expected=expected.get(job.job_id, NOTHING_KNOWN),
        )
        for job in jobs
    ]
