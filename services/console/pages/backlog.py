"""For the operator: what waits, who had how much of the GPUs, and who should have had."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from starlette.responses import Response

from atelier import AsyncClient
from atelier.calls import timestamp
from atelier.names import last_id
from atelier.v1.job_service_pb2 import JobFilter
from atelier.v1.tenant_service_pb2 import Tenant
from atelier.v1.usage_service_pb2 import UsageFilter
from services.console.live import ACTIVE_JOB_STATES
from services.console.visit import Visit

_WINDOW: Final = timedelta(hours=24)
_JOBS_PER_PAGE: Final = 1000
# The gateway is asked about so many tenants at a time.
_AT_A_TIME: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLoad:
    """A tenant's part of the installation; times in seconds."""

    tenant: Tenant
    job_count: int
    queued_count: int
    running_count: int
    gpu_seconds: float
    image_count: int

    @property
    def weight(self) -> float:
        return self.tenant.quotas.gpu_weight or 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a tenant had beside what its weight gives it among those that drew or wait."""

    load: TenantLoad
    had: float
    due: float


async def backlog(visit: Visit) -> Response:
    since = visit.now - _WINDOW
    places = asyncio.Semaphore(_AT_A_TIME)
    used = UsageFilter(start_time=timestamp(since))

    async def of(tenant: Tenant) -> TenantLoad:
        async with places:
            return await _load(visit.client_for(last_id(tenant.name)), tenant, used)

    tenants = [tenant async for tenant in visit.client.list_tenants()]
    loads = await asyncio.gather(*(of(tenant) for tenant in tenants))
    shares = shares_of(loads)
    return visit.page(
        "backlog.html",
        shares=shares,
        queued_count=sum(load.queued_count for load in loads),
        running_count=sum(load.running_count for load in loads),
        gpu_seconds=sum(load.gpu_seconds for load in loads),
    )


def shares_of(loads: Sequence[TenantLoad]) -> list[Share]:
    """Set what each had against its weight; who neither drew nor waits has no due. Pure."""
    all_seconds = sum(load.gpu_seconds for load in loads)
    weights = sum(load.weight for load in loads if _took_part(load))
    return [
        Share(
            load=load,
            had=load.gpu_seconds / all_seconds if all_seconds else 0.0,
            due=load.weight / weights if _took_part(load) else 0.0,
        )
        for load in loads
    ]


def _took_part(load: TenantLoad) -> bool:
    return load.gpu_seconds > 0 or load.queued_count > 0 or load.running_count > 0


async def _load(client: AsyncClient, tenant: Tenant, used: UsageFilter) -> TenantLoad:
    active = JobFilter(states=ACTIVE_JOB_STATES)
    usage = (await client.query_usage(usage_filter=used)).total
    jobs = [job async for job in client.list_jobs(active, page_size=_JOBS_PER_PAGE)]
    return TenantLoad(
        tenant=tenant,
        job_count=len(jobs),
        queued_count=sum(job.queued_count for job in jobs),
        running_count=sum(job.running_count for job in jobs),
        gpu_seconds=usage.gpu_seconds,
        image_count=usage.succeeded_count,
    )
