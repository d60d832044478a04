"""BillingService, for operators: their own costs, and what is left of what was charged."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import grpc.aio

from atelier.v1 import billing_service_pb2, cost_pb2
from database.pool import Connection, transaction
from metering.cost_book import (
    CostVersion,
    get_cost,
    insert_cost_version,
    list_costs,
)
from metering.cost_document import CostDocument
from metering.errors import PriceInvalidError, PriceVersionExistsError
from metering.margins import (
    Margin,
    MarginDimension,
    MarginFilter,
    MarginKey,
    MarginReport,
    query_margin,
)
from services.gateway import operator_requests, resource_names
from services.gateway.billing_calls import BillingCalls
from services.gateway.callers import current_caller
from services.gateway.conversions import enum_text, to_datetime, to_money, to_timestamp
from services.gateway.errors import already_exists, invalid_field
from services.gateway.margin_reports import MarginQuestion
from services.gateway.once import once_key
from services.gateway.page_tokens import Position
from services.gateway.pages import PageRequest
from services.gateway.scopes import named_job, named_tenant
from tenants.ids import OPERATOR_TENANT_ID, CostId

_Context = grpc.aio.ServicerContext[Any, Any]


class MarginCalls(BillingCalls):
    """Works with the operator's pool alone: no other role may read a cost."""

    async def CreateCostVersion(
        self, request: billing_service_pb2.CreateCostVersionRequest, context: _Context
    ) -> cost_pb2.CostVersion:
        wanted = request.cost_version
        document = _cost_document(wanted)
        effective_time = self._now()
        if wanted.HasField("effective_time"):
            field = "cost_version.effective_time"
            effective_time = to_datetime(wanted.effective_time, field=field)
        once = once_key(request, scope="costVersions")
        async with transaction(self._operator_pool) as conn:
            made = await operator_requests.claim(conn, once)
            if made is not None:
                return _cost_message(await _cost_of_name(conn, made))
            try:
                version = await insert_cost_version(
                    conn, effective_time=effective_time, document=document
                )
            except PriceVersionExistsError:
                raise already_exists(f"costs in {document.currency} from that time") from None
            await operator_requests.complete(conn, once, _cost_name(version))
        return _cost_message(version)

    async def ListCosts(
        self, request: billing_service_pb2.ListCostsRequest, context: _Context
    ) -> billing_service_pb2.ListCostsResponse:
        pages = PageRequest(request, scope=OPERATOR_TENANT_ID, tokens=self._page_tokens)
        async with transaction(self._operator_pool) as conn:
            costs = await list_costs(conn, limit=pages.limit, before=_cost_position(pages.position))
        page = pages.page(
            costs, position=lambda cost: (cost.effective_time.isoformat(), cost.cost_id)
        )
        return billing_service_pb2.ListCostsResponse(
            cost_versions=[_cost_message(cost) for cost in page.rows],
            next_page_token=page.next_page_token,
        )

    async def QueryMargin(
        self, request: billing_service_pb2.QueryMarginRequest, context: _Context
    ) -> billing_service_pb2.QueryMarginResponse:
        pages = PageRequest(request, scope=OPERATOR_TENANT_ID, tokens=self._page_tokens)
        dimensions = [
            MarginDimension(enum_text(cost_pb2.MarginDimension, number))
            for number in request.group_by
        ]
        question = MarginQuestion(chosen=_chosen(request), group_by=tuple(dimensions))
        report = await self._margin_reports.report(
            question, lambda: self._work_out(question), is_first_page=pages.position is None
        )
        first = int(pages.position[0]) if pages.position else 0
        groups = report.groups[first : first + pages.limit]
        numbered = list(enumerate(groups, start=first + 1))
        page = pages.page(numbered, position=lambda row: (str(row[0]),))
        return billing_service_pb2.QueryMarginResponse(
            groups=[
                _margin_message(margin, key.currency, _values(key, dimensions))
                for _, (key, margin) in page.rows
            ],
            next_page_token=page.next_page_token,
            totals=[
                _margin_message(margin, currency)
                for currency, margin in sorted(report.totals.items())
            ],
        )

    async def _work_out(self, question: MarginQuestion) -> MarginReport:
        async with transaction(self._operator_pool) as conn:
            return await query_margin(conn, question.chosen, group_by=question.group_by)


def _cost_document(wanted: cost_pb2.CostVersion) -> CostDocument:
    try:
        return CostDocument(
            currency=wanted.currency_code,
            gpu_second_nanos=wanted.gpu_second_nanos,
            kwh_nanos=wanted.kwh_nanos,
            idle_share_millionths=wanted.idle_share_millionths,
            display_name=wanted.display_name,
        )
    except PriceInvalidError as error:
        raise invalid_field(f"cost_version.{error.field}", error.description) from error


def _cost_message(version: CostVersion) -> cost_pb2.CostVersion:
    document = version.document
    return cost_pb2.CostVersion(
        name=_cost_name(version),
        currency_code=document.currency,
        effective_time=to_timestamp(version.effective_time),
        gpu_second_nanos=document.gpu_second_nanos,
        kwh_nanos=document.kwh_nanos,
        idle_share_millionths=document.idle_share_millionths,
        display_name=document.display_name,
        sha256=version.document_sha256.hex(),
        create_time=to_timestamp(version.create_time),
    )


def _cost_name(version: CostVersion) -> str:
    return resource_names.COST_VERSION.write(version.cost_id)


async def _cost_of_name(conn: Connection, name: str) -> CostVersion:
    parsed = resource_names.COST_VERSION.parse(name)
    assert parsed is not None, "we wrote that name"
    version = await get_cost(conn, CostId(parsed[0]))
    assert version is not None, "cost versions are never deleted"
    return version


def _cost_position(position: Position | None) -> tuple[datetime, str] | None:
    if position is None:
        return None
    effective_time, cost_id = position
    return datetime.fromisoformat(effective_time), cost_id


def _chosen(request: billing_service_pb2.QueryMarginRequest) -> MarginFilter:
    caller = current_caller()
    tenant_id = named_tenant(caller, request.tenant) if request.tenant else None
    job = named_job(caller, request.job) if request.job else None
    if tenant_id and job and job.tenant_id != tenant_id:
        raise invalid_field("job", f"is not of {request.tenant}")
    return MarginFilter(
        start_time=to_datetime(request.start_time, field="start_time"),
        end_time=to_datetime(request.end_time, field="end_time"),
        tenant_id=job.tenant_id if job else tenant_id,
        job_id=job.job_id if job else None,
    )


def _margin_message(
    margin: Margin, currency: str, values: Sequence[str] = ()
) -> cost_pb2.MarginGroup:
    return cost_pb2.MarginGroup(
        group_values=values,
        image_count=margin.image_count,
        revenue=to_money(margin.revenue_nanos, currency),
        cost=to_money(margin.cost_nanos, currency),
        gpu_cost=to_money(margin.gpu_cost_nanos, currency),
        energy_cost=to_money(margin.energy_cost_nanos, currency),
        margin=None if margin.margin_nanos is None else to_money(margin.margin_nanos, currency),
        uncosted_count=margin.uncosted_count,
        energy_uncosted_count=margin.energy_uncosted_count,
    )


def _values(key: MarginKey, dimensions: Sequence[MarginDimension]) -> list[str]:
    tenant_id, job_id = key.tenant_id or "", key.job_id or ""
    names = {
        MarginDimension.TENANT: resource_names.TENANT.write(tenant_id),
        MarginDimension.JOB: resource_names.JOB.write(tenant_id, job_id),
        MarginDimension.DAY: key.value(MarginDimension.DAY),
        MarginDimension.IMAGE: resource_names.IMAGE.write(tenant_id, job_id, key.image_id or ""),
    }
    return [names[dimension] for dimension in dimensions]
