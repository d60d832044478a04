"""`atelier admin credit …`: what a tenant pays beforehand, and what is paid back."""

from datetime import datetime

import click

from atelier.cli.columns import BALANCE_COLUMNS
from atelier.cli.output import message_fields
from atelier.cli.session import Session, in_session
from atelier.cli.values import AMOUNT, MOMENT
from atelier.v1.billing_service_pb2 import GrantCreditResponse, RefundCreditResponse
from atelier.v1.money_pb2 import Money


@click.group()
def credit() -> None:
    """Prepaid credit."""


@credit.command("grant")
@click.argument("tenant_id")
@click.argument("amount", type=AMOUNT)
@click.option("--currency", help="The tenant's unless given.")
@click.option("--description", default="", help="On the tenant's list of transfers.")
@click.option("--expires", type=MOMENT, help="When what is left of it ends; never unless given.")
@click.option(
    "--priority",
    type=click.IntRange(0, 1000),
    default=0,
    help="Lower ones are used first; among equals those that expire first.",
)
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def grant(
    session: Session,
    *,
    tenant_id: str,
    amount: int,
    currency: str | None,
    description: str,
    expires: datetime | None,
    priority: int,
    request_id: str | None,
) -> None:
    """Put AMOUNT into a tenant's wallet."""
    with session.open_client(tenant=tenant_id) as client:
        code = (currency or client.get_tenant().currency_code).upper()
        answer = client.grant_credit(
            Money(currency_code=code, nanos=amount),
            description=description,
            expire_time=expires,
            priority=priority,
            request_id=request_id,
        )
    _show(session, answer)


@credit.command("refund")
@click.argument("tenant_id")
@click.argument("amount", type=AMOUNT)
@click.option("--reference", required=True, help="The payment's, such as the bank's.")
@click.option("--currency", help="The tenant's unless given.")
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def refund(
    session: Session,
    *,
    tenant_id: str,
    amount: int,
    reference: str,
    currency: str | None,
    request_id: str | None,
) -> None:
    """Take AMOUNT, paid back outside, out of a tenant's wallet."""
    with session.open_client(tenant=tenant_id) as client:
        code = (currency or client.get_tenant().currency_code).upper()
        answer = client.refund_credit(
            Money(currency_code=code, nanos=amount), reference=reference, request_id=request_id
        )
    _show(session, answer)


def _show(session: Session, answer: GrantCreditResponse | RefundCreditResponse) -> None:
    if session.output.is_json:
        session.output.show_json(message_fields(answer))
    else:
        session.output.show_one(answer.balance, BALANCE_COLUMNS)
