"""`atelier admin costs …` and `atelier admin margin`: what the operator pays and what is left."""

from collections.abc import Sequence
from datetime import datetime

import click

from atelier.calls import timestamp
from atelier.cli.output import Column, message_fields, moment_text
from atelier.cli.session import Session, in_session
from atelier.cli.values import AMOUNT, MOMENT, PERCENT
from atelier.money import format_money
from atelier.names import last_id
from atelier.v1.cost_pb2 import CostVersion, MarginDimension, MarginGroup
from atelier.v1.money_pb2 import Money

_DIMENSIONS = {
    "tenant": MarginDimension.MARGIN_DIMENSION_TENANT,
    "job": MarginDimension.MARGIN_DIMENSION_JOB,
    "day": MarginDimension.MARGIN_DIMENSION_DAY,
    "image": MarginDimension.MARGIN_DIMENSION_IMAGE,
}


@click.group()
def costs() -> None:
    """What the operator itself pays; no tenant can read it."""


@costs.command("list")
@in_session
def list_costs(session: Session) -> None:
    """List the versions of the cost book, newest first."""
    with session.open_client() as client:
        session.output.show_many(list(client.list_costs()), COST_COLUMNS)


@costs.command("create")
@click.option("--currency", default="USD", show_default=True, help="In which it is sold.")
@click.option("--gpu-second", type=AMOUNT, required=True, help="Rent or amortisation of a second.")
@click.option("--kwh", type=AMOUNT, required=True, help="Tariff of a kWh.")
@click.option(
    "--idle-share", type=PERCENT, default="0", help="GPU time that delivers nothing, in percent."
)
@click.option("--title", default="", help="For people.")
@click.option("--effective", type=MOMENT, help="From when on, also in the past; now unless given.")
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def create_costs(
    session: Session,
    *,
    currency: str,
    gpu_second: int,
    kwh: int,
    idle_share: int,
    title: str,
    effective: datetime | None,
    request_id: str | None,
) -> None:
    """Make a new version of the cost book."""
    version = CostVersion(
        currency_code=currency.upper(),
        gpu_second_nanos=gpu_second,
        kwh_nanos=kwh,
        idle_share_millionths=idle_share,
        display_name=title,
        effective_time=timestamp(effective),
    )
    with session.open_client() as client:
        made = client.create_cost_version(version, request_id=request_id)
    session.output.show_one(made, COST_COLUMNS)


@click.command("margin")
@click.option("--from", "start", type=MOMENT, required=True, help="Charged at or after.")
@click.option("--to", "end", type=MOMENT, required=True, help="Charged before; 32 days at most.")
@click.option(
    "--by",
    "groupings",
    multiple=True,
    type=click.Choice(list(_DIMENSIONS)),
    help="May be repeated; images are told of one --job.",
)
@click.option("--job", default="", help="tenants/TENANT/jobs/JOB; all unless given.")
@in_session
def margin(
    session: Session, *, start: datetime, end: datetime, groupings: tuple[str, ...], job: str
) -> None:
    """Show revenue, own cost and margin: of all tenants, or of one with --tenant.

    A margin is left out while a part of its cost is unknown.
    """
    with session.open_client() as client:
        answer = client.query_margin(
            start,
            end,
            [_DIMENSIONS[grouping] for grouping in groupings],
            tenant=session.tenant or "",
            job=job,
        )
    if session.output.is_json:
        session.output.show_json(message_fields(answer))
        return
    rows = [*answer.groups, *answer.totals] if groupings else list(answer.totals)
    session.output.show_many(rows, _columns(groupings))


def _columns(groupings: Sequence[str]) -> Sequence[Column[MarginGroup]]:
    def value(index: int) -> Column[MarginGroup]:
        def text(group: MarginGroup) -> str:
            if not group.group_values:
                return "total" if index == 0 else ""
            return last_id(group.group_values[index])

        return Column(groupings[index], text)

    return (
        *(value(index) for index in range(len(groupings))),
        Column("images", lambda group: str(group.image_count), is_number=True),
        Column("revenue", lambda group: format_money(group.revenue), is_number=True),
        Column("GPU", lambda group: format_money(group.gpu_cost), is_number=True, is_detail=True),
        Column(
            "energy", lambda group: format_money(group.energy_cost), is_number=True, is_detail=True
        ),
        Column("cost", lambda group: format_money(group.cost), is_number=True),
        Column("margin", _margin, is_number=True),
    )


def _margin(group: MarginGroup) -> str:
    if group.HasField("margin"):
        return format_money(group.margin)
    return f"unknown: {group.uncosted_count + group.energy_uncosted_count} without cost"


def _amount(nanos: int, version: CostVersion) -> str:
    return format_money(Money(currency_code=version.currency_code, nanos=nanos))


COST_COLUMNS: Sequence[Column[CostVersion]] = (
    Column("costs", lambda version: last_id(version.name)),
    Column("from", lambda version: moment_text(version.effective_time)),
    Column(
        "GPU second", lambda version: _amount(version.gpu_second_nanos, version), is_number=True
    ),
    Column("kWh", lambda version: _amount(version.kwh_nanos, version), is_number=True),
    Column("idle", lambda version: f"{version.idle_share_millionths / 10_000:g} %", is_number=True),
    Column("title", lambda version: version.display_name, is_text=True, is_detail=True),
)
