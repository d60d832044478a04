"""`atelier budgets …` and `atelier ledger verify`."""

from collections.abc import Sequence

import click

from atelier.cli.output import Column, message_fields
from atelier.cli.session import Session, in_session
from atelier.cli.values import AMOUNT
from atelier.money import format_money
from atelier.names import last_id
from atelier.v1.billing_service_pb2 import Budget, BudgetEnforcement, BudgetPeriod
from atelier.v1.money_pb2 import Money

_PERIODS = {"day": "DAY", "month": "MONTH", "total": "TOTAL"}


def _bounds(budget: Budget) -> str:
    period = BudgetPeriod.Name(budget.period).removeprefix("BUDGET_PERIOD_").lower()
    strength = BudgetEnforcement.Name(budget.enforcement).removeprefix("BUDGET_ENFORCEMENT_")
    narrowed = [f"project {budget.project}"] if budget.project else []
    narrowed += [f"key {last_id(budget.api_key)}"] if budget.api_key else []
    return ", ".join([strength.lower(), period, *narrowed])


_COLUMNS: Sequence[Column[Budget]] = (
    Column("budget", lambda budget: last_id(budget.name)),
    Column("for", _bounds, is_text=True),
    Column("limit", lambda budget: format_money(budget.limit), is_number=True),
    Column("spent", lambda budget: format_money(budget.spent), is_number=True),
    Column("held", lambda budget: format_money(budget.held), is_number=True),
    Column("reached", lambda budget: ", ".join(f"{a.percent} %" for a in budget.alerts)),
)


@click.group()
def budgets() -> None:
    """Bound what a tenant, a project or a key may spend."""


@budgets.command("set")
@click.argument("budget")
@click.argument("limit", type=AMOUNT)
@click.option(
    "--period",
    type=click.Choice(list(_PERIODS)),
    default="month",
    show_default=True,
    help="After which it begins anew.",
)
@click.option("--project", default="", help="Every project unless given.")
@click.option("--key", default="", help="Id of a key; every key unless given.")
@click.option("--soft", is_flag=True, help="Tell of it, and refuse nothing.")
@in_session
def set_(
    session: Session, *, budget: str, limit: int, period: str, project: str, key: str, soft: bool
) -> None:
    """Make or replace BUDGET with a LIMIT in the tenant's currency."""
    with session.open_client() as client:
        tenant = client.get_tenant()
        strength = "SOFT" if soft else "HARD"
        made = client.set_budget(
            Budget(
                name=f"{tenant.name}/budgets/{budget}",
                project=project,
                api_key=f"{tenant.name}/apiKeys/{key}" if key else "",
                period=BudgetPeriod.Value(f"BUDGET_PERIOD_{_PERIODS[period]}"),
                limit=Money(currency_code=tenant.currency_code, nanos=limit),
                enforcement=BudgetEnforcement.Value(f"BUDGET_ENFORCEMENT_{strength}"),
            )
        )
    session.output.show_one(made, _COLUMNS)


@budgets.command("list")
@in_session
def list_(session: Session) -> None:
    """List budgets and what is used of them."""
    with session.open_client() as client:
        session.output.show_many(list(client.list_budgets()), _COLUMNS)


@click.group()
def ledger() -> None:
    """Prove what stands in the ledger."""


@ledger.command("verify")
@in_session
def verify(session: Session) -> None:
    """Derive balances and the chain of hashes anew; exit code 1 when something is wrong."""
    with session.open_client() as client:
        proof = client.verify_ledger()
    if session.output.is_json:
        session.output.show_json(message_fields(proof))
    elif proof.consistent:
        click.echo(f"{proof.transfer_count} transfers in {proof.block_count} blocks: consistent")
    else:
        click.echo(proof.first_inconsistency)
    if not proof.consistent:
        raise SystemExit(1)
