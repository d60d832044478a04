"""What the operator earns: its own costs and its margin."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from atelier.calls import Calls, new_request_id, timestamp
from atelier.names import tenant_name
from atelier.pages import entries_of_pages
from atelier.v1.billing_service_pb2 import (
    CreateCostVersionRequest,
    ListCostsRequest,
    ListCostsResponse,
    QueryMarginRequest,
    QueryMarginResponse,
)
from atelier.v1.billing_service_pb2_grpc import BillingServiceStub
from atelier.v1.cost_pb2 import CostVersion, MarginDimension

if TYPE_CHECKING:
    from atelier.v1.billing_service_pb2_grpc import BillingServiceAsyncStub

_GROUPS_PER_PAGE = 1000


class MarginCalls(Calls):
    """The calls of BillingService about what only the operator knows."""

    async def create_cost_version(
        self, cost_version: CostVersion, *, request_id: str | None = None
    ) -> CostVersion:
        """Operator: make a new version of the cost book."""
        request = CreateCostVersionRequest(
            cost_version=cost_version, request_id=new_request_id(request_id)
        )
        return await self._connection.call(self._margins().CreateCostVersion, request)

    def list_costs(self) -> AsyncGenerator[CostVersion, None]:
        """Operator: yield the versions of the cost book, newest first."""

        async def fetch(page_token: str) -> ListCostsResponse:
            request = ListCostsRequest(page_token=page_token)
            return await self._connection.call(self._margins().ListCosts, request)

        return entries_of_pages(fetch, lambda page: page.cost_versions)

    async def query_margin(
        self,
        start_time: datetime,
        end_time: datetime,
        group_by: "Sequence[MarginDimension.ValueType]" = (),
        *,
        tenant: str = "",
        job: str = "",
    ) -> QueryMarginResponse:
        """Operator: revenue, cost and margin of at most 32 days; all groups in one answer.

        ``tenant`` and ``job`` (its whole name) narrow it down; empty means all.
        """
        request = QueryMarginRequest(
            tenant=tenant_name(tenant) if tenant else "",
            job=job,
            start_time=timestamp(start_time),
            end_time=timestamp(end_time),
            group_by=group_by,
            page_size=_GROUPS_PER_PAGE,
        )
        answer = QueryMarginResponse()
        while True:
            page = await self._connection.call(self._margins().QueryMargin, request)
            answer.groups.extend(page.groups)
            del answer.totals[:]
            answer.totals.extend(page.totals)
            if not page.next_page_token:
                return answer
            request.page_token = page.next_page_token

    def _margins(self) -> "BillingServiceAsyncStub":
        return BillingServiceStub(self._connection.channel)
