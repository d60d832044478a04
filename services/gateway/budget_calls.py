"""BillingService: budgets."""

from typing import Any

import grpc.aio

from atelier.v1 import billing_service_pb2
from database.pool import tenant_transaction
from metering.budgets import (
    Budget,
    BudgetAlert,
    BudgetEnforcement,
    BudgetPeriod,
    NewBudget,
    list_budgets,
    set_budget,
)
from metering.errors import BudgetLimitError
from services.gateway import resource_names
from services.gateway.billing_calls import BillingCalls, existing_tenant
from services.gateway.callers import current_caller
from services.gateway.conversions import enum_number, enum_text, to_money, to_timestamp
from services.gateway.errors import invalid_field
from services.gateway.leaving_tenants import staying_tenant
from services.gateway.pages import PageRequest
from services.gateway.scopes import named_part, named_tenant
from tenants.ids import KeyId, TenantId
from tenants.tenant_store import Tenant

_Context = grpc.aio.ServicerContext[Any, Any]


class BudgetCalls(BillingCalls):
    """Makes budgets and shows what is used of them."""

    async def SetBudget(
        self, request: billing_service_pb2.SetBudgetRequest, context: _Context
    ) -> billing_service_pb2.Budget:
        caller, wanted = current_caller(), request.budget
        tenant_id, budget_id = named_part(resource_names.BUDGET, caller, wanted.name)
        key_id = ""
        if wanted.api_key:
            key_tenant_id, key_id = named_part(resource_names.API_KEY, caller, wanted.api_key)
            if key_tenant_id != tenant_id:
                raise invalid_field("budget.api_key", "is a key of another tenant")
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await staying_tenant(conn, tenant_id, wanted.name)
            new = _new_budget(tenant, wanted, budget_id=budget_id, key_id=KeyId(key_id))
            try:
                return _budget_message(await set_budget(conn, new))
            except BudgetLimitError as error:
                raise invalid_field("budget.name", str(error)) from None

    async def ListBudgets(
        self, request: billing_service_pb2.ListBudgetsRequest, context: _Context
    ) -> billing_service_pb2.ListBudgetsResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            await existing_tenant(conn, tenant_id, request.parent)
            budgets = await list_budgets(
                conn,
                tenant_id=tenant_id,
                limit=pages.limit,
                after=pages.position[0] if pages.position else "",
            )
        page = pages.page(budgets, position=lambda budget: (budget.budget_id,))
        return billing_service_pb2.ListBudgetsResponse(
            budgets=[_budget_message(budget) for budget in page.rows],
            next_page_token=page.next_page_token,
        )


def _new_budget(
    tenant: Tenant, wanted: billing_service_pb2.Budget, *, budget_id: str, key_id: KeyId
) -> NewBudget:
    if wanted.limit.currency_code != tenant.currency:
        raise invalid_field("budget.limit.currency_code", f"must be {tenant.currency}")
    hard = billing_service_pb2.BUDGET_ENFORCEMENT_HARD
    return NewBudget(
        tenant_id=tenant.tenant_id,
        budget_id=budget_id,
        project=wanted.project,
        key_id=key_id,
        period=BudgetPeriod(enum_text(billing_service_pb2.BudgetPeriod, wanted.period)),
        enforcement=BudgetEnforcement(
            enum_text(billing_service_pb2.BudgetEnforcement, wanted.enforcement or hard)
        ),
        limit_nanos=wanted.limit.nanos,
        currency=tenant.currency,
    )


def _budget_message(budget: Budget) -> billing_service_pb2.Budget:
    currency = budget.currency
    return billing_service_pb2.Budget(
        name=resource_names.BUDGET.write(budget.tenant_id, budget.budget_id),
        project=budget.project,
        api_key=_key_name(budget.tenant_id, budget.key_id),
        period=enum_number(billing_service_pb2.BudgetPeriod, budget.period),
        limit=to_money(budget.limit_nanos, currency),
        enforcement=enum_number(billing_service_pb2.BudgetEnforcement, budget.enforcement),
        spent=to_money(budget.spent_nanos, currency),
        held=to_money(budget.held_nanos, currency),
        alerts=[_alert_message(alert, currency) for alert in budget.alerts],
    )


def _alert_message(alert: BudgetAlert, currency: str) -> billing_service_pb2.BudgetAlert:
    return billing_service_pb2.BudgetAlert(
        percent=alert.percent,
        used=to_money(alert.used_nanos, currency),
        limit=to_money(alert.limit_nanos, currency),
        create_time=to_timestamp(alert.create_time),
    )


def _key_name(tenant_id: TenantId, key_id: KeyId) -> str:
    return resource_names.API_KEY.write(tenant_id, key_id) if key_id else ""
