"""The GPUs of the installation; for operators."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import TYPE_CHECKING

from atelier.calls import Calls, timestamp
from atelier.names import ALL, top_name
from atelier.pages import entries_of_pages
from atelier.v1.fleet_service_pb2 import (
    EnergyReconciliation,
    GetEnergyReconciliationRequest,
    GetEnergyReconciliationResponse,
)
from atelier.v1.fleet_service_pb2_grpc import FleetServiceStub

if TYPE_CHECKING:
    from atelier.v1.fleet_service_pb2_grpc import FleetServiceAsyncStub


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

    def _fleet(self) -> "FleetServiceAsyncStub":
        return FleetServiceStub(self._connection.channel)
