"""UsageService: what was used, as facts and as sums."""

from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

import grpc.aio

from atelier.v1 import image_pb2, usage_service_pb2, usage_service_pb2_grpc
from database.pool import Pool, tenant_snapshot, tenant_transaction
from metering.energy_factors import EnergyFactors, carbon_text
from metering.focus import FocusAccount
from metering.money import exact_text
from metering.usage_carbon import ALL_GROUPS, carbon_of
from metering.usage_records import Receipt, UsageOutcome, UsageRecord, get_receipts
from metering.usage_reports import (
    UsageDimension,
    UsageFilter,
    UsageSum,
    list_usage,
    query_usage,
)
from services.gateway import resource_names
from services.gateway.callers import Caller, current_caller
from services.gateway.conversions import (
    enum_number,
    enum_text,
    to_datetime,
    to_money,
    to_timestamp,
)
from services.gateway.errors import invalid_field, not_found
from services.gateway.job_messages import energy_source_number, receipt_message
from services.gateway.page_tokens import PageTokens, Position
from services.gateway.pages import PageRequest
from services.gateway.scopes import named_job, named_part, named_tenant
from services.gateway.usage_files import UsageFile
from services.gateway.usage_pages import place_of, with_places
from tenants.ids import ImageId, KeyId, TenantId
from tenants.tenant_store import get_tenant

_Context = grpc.aio.ServicerContext[Any, Any]

# The contract's names of dimensions where they differ from ours.
_API_KEY: Final = "API_KEY"


class UsageService(usage_service_pb2_grpc.UsageServiceServicer):
    """Serves the calls of UsageService."""

    def __init__(
        self,
        *,
        pool: Pool,
        page_tokens: PageTokens,
        issuer_name: str,
        energy_factors: tuple[EnergyFactors, ...],
        now: Callable[[], datetime],
    ) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._issuer_name = issuer_name
        self._energy_factors = energy_factors
        self._now = now

    async def ListUsageRecords(
        self, request: usage_service_pb2.ListUsageRecordsRequest, context: _Context
    ) -> usage_service_pb2.ListUsageRecordsResponse:
        caller = current_caller()
        tenant_id = named_tenant(caller, request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        chosen = _chosen(request.filter, caller, tenant_id)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            records = await list_usage(
                conn,
                tenant_id=tenant_id,
                chosen=chosen,
                limit=pages.limit,
                before=_before(pages.position),
            )
            page = pages.page(
                records, position=lambda record: (record.charge_time.isoformat(), record.image_id)
            )
            receipts = await get_receipts(
                conn, tenant_id=tenant_id, image_ids=[record.image_id for record in page.rows]
            )
        return usage_service_pb2.ListUsageRecordsResponse(
            usage_records=[
                _record_message(record, receipts[record.image_id]) for record in page.rows
            ],
            next_page_token=page.next_page_token,
        )

    async def QueryUsage(
        self, request: usage_service_pb2.QueryUsageRequest, context: _Context
    ) -> usage_service_pb2.QueryUsageResponse:
        caller = current_caller()
        tenant_id = named_tenant(caller, request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        dimensions = [_dimension(number) for number in request.group_by]
        chosen = _chosen(request.filter, caller, tenant_id)
        from_day, offset = place_of(pages.position)
        # Whether there are roll-ups of this clock is read before them.
        async with tenant_snapshot(self._pool, tenant_id) as conn:
            tenant = await get_tenant(conn, tenant_id)
            if tenant is None:
                raise not_found(request.parent)
            query = partial(
                query_usage,
                conn,
                tenant_id=tenant_id,
                time_zone=tenant.time_zone,
                group_by=dimensions,
                label_key=request.label_key,
            )
            report = await query(chosen=chosen, limit=pages.limit, offset=offset, from_day=from_day)
            carbon = await carbon_of(
                report,
                chosen=chosen,
                versions=self._energy_factors,
                query_all=lambda part: query(chosen=part, limit=ALL_GROUPS),
            )
        placed = with_places(report.groups, from_day=from_day, offset=offset)
        page = pages.page(placed, position=lambda row: row[0])
        return usage_service_pb2.QueryUsageResponse(
            groups=[
                _group_message(row, dimensions, tenant_id, carbon_grams=grams)
                # A group more was read than is shown, to know whether there is a next page.
                for (_, row), grams in zip(page.rows, carbon.groups, strict=False)
            ],
            next_page_token=page.next_page_token,
            total=_group_message(report.total, (), tenant_id, carbon_grams=carbon.total)
            if report.total
            else None,
            carbon_factors=[_factors_message(version) for version in carbon.factors],
        )

    async def ExportUsage(
        self, request: usage_service_pb2.ExportUsageRequest, context: _Context
    ) -> AsyncIterator[usage_service_pb2.ExportUsageResponse]:
        caller = current_caller()
        tenant_id = named_tenant(caller, request.parent)
        chosen = _chosen(request.filter, caller, tenant_id)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await get_tenant(conn, tenant_id)
        if tenant is None:
            raise not_found(request.parent)
        file = UsageFile(
            pool=self._pool,
            tenant_id=tenant_id,
            kind=request.kind,
            chosen=chosen,
            account=FocusAccount(
                tenant_id=tenant_id,
                legal_name=tenant.legal_name or tenant.display_name,
                issuer_name=self._issuer_name,
                currency=tenant.currency,
                time_zone=tenant.time_zone,
            ),
            now=self._now(),
        )
        yield usage_service_pb2.ExportUsageResponse(file=file.description())
        async for chunk in file.chunks():
            yield usage_service_pb2.ExportUsageResponse(chunk=chunk)


def _dimension(number: usage_service_pb2.UsageDimension.ValueType) -> UsageDimension:
    text = enum_text(usage_service_pb2.UsageDimension, number)
    return UsageDimension.KEY if text == _API_KEY else UsageDimension(text)


def _chosen(
    wanted: usage_service_pb2.UsageFilter, caller: Caller, tenant_id: TenantId
) -> UsageFilter:
    return UsageFilter(
        start_time=to_datetime(wanted.start_time, field="filter.start_time")
        if wanted.HasField("start_time")
        else None,
        end_time=to_datetime(wanted.end_time, field="filter.end_time")
        if wanted.HasField("end_time")
        else None,
        model=_model_id(wanted.model),
        key_id=_key_id(wanted.api_key, caller, tenant_id),
        project=wanted.project or None,
        job_id=named_job(caller, wanted.job).job_id if wanted.job else None,
        outcomes=tuple(_outcome(number) for number in wanted.outcomes),
    )


def _model_id(name: str) -> str | None:
    if not name:
        return None
    parsed = resource_names.MODEL.parse(name)
    if parsed is None:
        raise invalid_field("filter.model", "must be models/{model}")
    return parsed[0]


def _key_id(name: str, caller: Caller, tenant_id: TenantId) -> KeyId | None:
    if not name:
        return None
    named_tenant_id, key_id = named_part(resource_names.API_KEY, caller, name)
    if named_tenant_id != tenant_id:
        raise not_found(name)
    return KeyId(key_id)


def _outcome(number: image_pb2.ImageState.ValueType) -> UsageOutcome:
    text = enum_text(image_pb2.ImageState, number)
    if text not in list(UsageOutcome):
        raise invalid_field("filter.outcomes", f"{text} is no end of an image")
    return UsageOutcome(text)


def _before(position: Position | None) -> tuple[datetime, ImageId] | None:
    if position is None:
        return None
    charge_time, image_id = position
    return datetime.fromisoformat(charge_time), ImageId(image_id)


def _record_message(record: UsageRecord, receipt: Receipt) -> usage_service_pb2.UsageRecord:
    tenant_id = record.tenant_id
    return usage_service_pb2.UsageRecord(
        image=resource_names.IMAGE.write(tenant_id, record.job_id, record.image_id),
        outcome=enum_number(image_pb2.ImageState, record.outcome),
        failure_reason=record.failure_reason or "",
        api_key=resource_names.API_KEY.write(tenant_id, record.key_id),
        project=record.project,
        labels=record.labels,
        tier=enum_number(image_pb2.Tier, record.tier),
        width=record.width,
        height=record.height,
        num_inference_steps=record.num_inference_steps,
        receipt=receipt_message(receipt),
        charge_time=to_timestamp(record.charge_time),
    )


def _factors_message(version: EnergyFactors) -> usage_service_pb2.CarbonFactors:
    return usage_service_pb2.CarbonFactors(
        effective_time=to_timestamp(version.effective_time),
        pue=exact_text(version.pue),
        carbon_grams_per_kwh=exact_text(version.carbon_grams_per_kwh),
        source=version.source,
    )


def _group_message(
    row: UsageSum,
    dimensions: Collection[UsageDimension],
    tenant_id: TenantId,
    *,
    carbon_grams: Decimal | None,
) -> usage_service_pb2.UsageGroup:
    return usage_service_pb2.UsageGroup(
        group_values=[_group_value(row, dimension, tenant_id) for dimension in dimensions],
        image_count=row.image_count,
        succeeded_count=row.succeeded_count,
        failed_count=row.failed_count,
        blocked_count=row.blocked_count,
        cancelled_count=row.cancelled_count,
        gpu_seconds=row.gpu_seconds,
        energy_millijoules=row.energy_millijoules,
        energy_error_millijoules=row.energy_error_millijoules,
        energy_source=energy_source_number(row.energy_source),
        overhead_millijoules=row.overhead_millijoules,
        price=to_money(row.billed_cost_nanos, row.currency),
        carbon_grams="" if carbon_grams is None else carbon_text(carbon_grams),
    )


def _group_value(row: UsageSum, dimension: UsageDimension, tenant_id: TenantId) -> str:
    values = {
        UsageDimension.DAY: row.day.isoformat() if row.day else "",
        UsageDimension.MODEL: resource_names.MODEL.write(row.model or ""),
        UsageDimension.SIZE: f"{row.width}x{row.height}",
        UsageDimension.KEY: resource_names.API_KEY.write(tenant_id, row.key_id or ""),
        UsageDimension.PROJECT: row.project or "",
        UsageDimension.LABEL: row.label_value or "",
        UsageDimension.JOB: resource_names.JOB.write(tenant_id, row.job_id or ""),
        UsageDimension.OUTCOME: row.outcome or "",
    }
    return values[dimension]
