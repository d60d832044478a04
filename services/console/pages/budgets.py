"""Budgets: bounds on what is spent, and how much of them is."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from atelier.errors import CallError, UnavailableError
from atelier.money import money
from atelier.v1.billing_service_pb2 import Budget, BudgetEnforcement, BudgetPeriod
from services.console.refusals import reason_of
from services.console.visit import Visit, see

_PERIODS: Final = {
    "day": BudgetPeriod.BUDGET_PERIOD_DAY,
    "month": BudgetPeriod.BUDGET_PERIOD_MONTH,
    "total": BudgetPeriod.BUDGET_PERIOD_TOTAL,
}


async def budgets(visit: Visit) -> Response:
    return await _page(visit)


async def set_budget(visit: Visit) -> Response:
    """Make a budget or change the one of that name; sending it again changes nothing."""
    try:
        await visit.client.set_budget(_wanted(visit))
    except UnavailableError:
        raise
    except CallError as error:
        return await _page(visit, problems=reason_of(error))
    except ValueError as error:
        return await _page(visit, problems=[str(error)])
    return see("/budgets")


async def _page(visit: Visit, *, problems: Sequence[str] = ()) -> Response:
    found = [one async for one in visit.client.list_budgets()]
    return visit.page(
        "budgets.html",
        status_code=422 if problems else 200,
        budgets=found,
        problems=problems,
        form=visit.form,
    )


def _wanted(visit: Visit) -> Budget:
    form = visit.form
    soft = form.text("enforcement") == "soft"
    return Budget(
        name=f"tenants/-/budgets/{form.text('name')}",
        project=form.text("project"),
        period=_PERIODS.get(form.text("period"), BudgetPeriod.BUDGET_PERIOD_MONTH),
        limit=money(form.text("limit"), visit.visitor.currency),
        enforcement=BudgetEnforcement.BUDGET_ENFORCEMENT_SOFT
        if soft
        else BudgetEnforcement.BUDGET_ENFORCEMENT_HARD,
    )
