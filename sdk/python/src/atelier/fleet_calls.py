"""The GPUs of the installation; for operators."""

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from atelier.calls import Calls, timestamp
from atelier.connection import resumed
from atelier.names import ALL, top_name
from atelier.pages import entries_of_pages
from atelier.v1.fleet_service_pb2 import (
    DrainWorkerRequest,
    EnergyReconciliation,
    GetEnergyReconciliationRequest,
    GetEnergyReconciliationResponse,
    Gpu,
    ListGpusRequest,
    ListGpusResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    PowerPolicy,
    SetPowerPolicyRequest,
    WatchGpusRequest,
    WatchGpusResponse,
)
from atelier.v1.fleet_service_pb2_grpc import FleetServiceStub

if TYPE_CHECKING:
    from atelier.v1.fleet_service_pb2_grpc import FleetServiceAsyncStub

# More than an installation has, so that one answer tells of all.
WORKERS_PER_PAGE = 1000


class FleetCalls(Calls):
    """The calls of FleetService."""

    def get_energy_reconciliation(
        self,
        gpu: str = ALL,
        *,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> AsyncGenerator[EnergyReconciliation, None]:
        """Operator: yield where the joules of each GPU and UTC hour went, by GPU, oldest first."""

        async def fetch(page_token: str) -> GetEnergyReconciliationResponse:
            request = GetEnergyReconciliationRequest(
                parent=top_name("gpus", gpu),
                page_token=page_token,
                start_time=timestamp(start_time),
                end_time=timestamp(end_time),
            )
            return await self._connection.call(self._fleet().GetEnergyReconciliation, request)

        return entries_of_pages(fetch, lambda page: page.energy_reconciliations)

    def list_gpus(self) -> AsyncGenerator[Gpu, None]:
        """Operator: yield every GPU that was ever seen, with what its sensors said last."""

        async def fetch(page_token: str) -> ListGpusResponse:
            request = ListGpusRequest(page_token=page_token)
            return await self._connection.call(self._fleet().ListGpus, request)

        return entries_of_pages(fetch, lambda page: page.gpus)

    def watch_gpus(self, gpu: str = ALL) -> AsyncGenerator[WatchGpusResponse, None]:
        """Operator: yield how a GPU, or all of them, do, once a second; leave it when you like."""
        request = WatchGpusRequest(parent=top_name("gpus", gpu))

        def stream() -> AsyncGenerator[WatchGpusResponse, None]:
            return self._connection.stream(self._fleet().WatchGpus, request)

        return resumed(stream, retry_policy=self._connection.retry_policy)

    async def list_workers(self, *, page_token: str = "") -> ListWorkersResponse:
        """Operator: return a page of workers; its `warning` says when nothing keeps them apart."""
        request = ListWorkersRequest(page_size=WORKERS_PER_PAGE, page_token=page_token)
        return await self._connection.call(self._fleet().ListWorkers, request)

    async def drain_worker(self, gpu: str, *, keep_empty: timedelta = timedelta()) -> Gpu:
        """Operator: a GPU's worker finishes and ends; nobody gets the GPU for the time given."""
        request = DrainWorkerRequest(name=f"{top_name('gpus', gpu)}/worker")
        request.keep_empty.FromTimedelta(keep_empty)
        return await self._connection.call(self._fleet().DrainWorker, request)

    async def set_power_policy(
        self, gpu: str = ALL, *, temperature_celsius_max: float, duty_cycle_max: float
    ) -> PowerPolicy:
        """Operator: say how hot a GPU may get and how busy it may be for long; without one, all."""
        policy = PowerPolicy(
            name=f"{top_name('gpus', gpu)}/powerPolicy",
            temperature_celsius_max=temperature_celsius_max,
            duty_cycle_max=duty_cycle_max,
        )
        request = SetPowerPolicyRequest(power_policy=policy)
        return await self._connection.call(self._fleet().SetPowerPolicy, request)

    def _fleet(self) -> "FleetServiceAsyncStub":
        return FleetServiceStub(self._connection.channel)
