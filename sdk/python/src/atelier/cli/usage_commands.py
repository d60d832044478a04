"""`atelier usage`."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from atelier.calls import timestamp
from atelier.cli.columns import energy_text
from atelier.cli.output import Column, message_fields
from atelier.cli.session import Session, in_session
from atelier.cli.values import MOMENT
from atelier.money import format_money
from atelier.names import last_id
from atelier.v1.usage_service_pb2 import (
    UsageDimension,
    UsageExportKind,
    UsageFilter,
    UsageGroup,
)

_DIMENSIONS = {
    "day": UsageDimension.USAGE_DIMENSION_DAY,
    "model": UsageDimension.USAGE_DIMENSION_MODEL,
    "key": UsageDimension.USAGE_DIMENSION_API_KEY,
    "project": UsageDimension.USAGE_DIMENSION_PROJECT,
    "size": UsageDimension.USAGE_DIMENSION_SIZE,
    "outcome": UsageDimension.USAGE_DIMENSION_OUTCOME,
    "job": UsageDimension.USAGE_DIMENSION_JOB,
}
_LABEL = "label:"


@click.group(invoke_without_command=True)
@click.option(
    "--by",
    "groupings",
    multiple=True,
    metavar="|".join([*_DIMENSIONS, "label:KEY"]),
    help="May be repeated; without it there is one sum.",
)
@click.option("--from", "start", type=MOMENT, help="Booked at or after.")
@click.option("--to", "end", type=MOMENT, help="Booked before.")
@in_session
def usage(
    session: Session,
    *,
    groupings: tuple[str, ...],
    start: datetime | None,
    end: datetime | None,
) -> None:
    """Show what was used, by day, model, key, project, label, size, outcome or job."""
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        context.obj = session
        return
    dimensions, label_key = read_groupings(groupings)
    with session.open_client() as client:
        answer = client.query_usage(
            dimensions, label_key=label_key, usage_filter=_filter(start, end)
        )
    if session.output.is_json:
        session.output.show_json(message_fields(answer))
        return
    total = UsageGroup()
    total.CopyFrom(answer.total)
    total.ClearField("group_values")
    rows = [*answer.groups, total] if dimensions else [total]
    session.output.show_many(rows, _columns(groupings))


@usage.command("export")
@click.option(
    "--kind",
    type=click.Choice(["focus", "csv", "parquet"]),
    default="csv",
    show_default=True,
    help="Of the file.",
)
@click.option("--from", "start", type=MOMENT, help="Booked at or after.")
@click.option("--to", "end", type=MOMENT, help="Booked before.")
@click.option(
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Which file; the server names it unless given.",
)
@in_session
def export(
    session: Session,
    *,
    kind: str,
    start: datetime | None,
    end: datetime | None,
    path: Path | None,
) -> None:
    """Save the usage records as a file."""
    with session.open_client() as client:
        file = client.export_usage(
            UsageExportKind.Value(f"USAGE_EXPORT_KIND_{kind.upper()}"),
            usage_filter=_filter(start, end),
        )
    target = path or Path(Path(file.file_name).name)
    target.write_bytes(file.data)
    if session.output.is_json:
        session.output.show_json({"path": str(target), "content_type": file.content_type})
    else:
        click.echo(target)


def read_groupings(
    groupings: Sequence[str],
) -> tuple[list["UsageDimension.ValueType"], str]:
    """Read what to group by, and which label."""
    dimensions: list[UsageDimension.ValueType] = []
    label_key = ""
    for grouping in groupings:
        if grouping.startswith(_LABEL):
            label_key = grouping.removeprefix(_LABEL)
            dimensions.append(UsageDimension.USAGE_DIMENSION_LABEL)
        elif grouping in _DIMENSIONS:
            dimensions.append(_DIMENSIONS[grouping])
        else:
            known = ", ".join([*_DIMENSIONS, "label:KEY"])
            raise click.BadParameter(f"{grouping!r} is none of {known}", param_hint="--by")
    return dimensions, label_key


def _filter(start: datetime | None, end: datetime | None) -> UsageFilter:
    return UsageFilter(start_time=timestamp(start), end_time=timestamp(end))


def _columns(groupings: Sequence[str]) -> Sequence[Column[UsageGroup]]:
    def value(index: int) -> Column[UsageGroup]:
        def text(group: UsageGroup) -> str:
            if not group.group_values:
                return "total" if index == 0 else ""
            return last_id(group.group_values[index])

        return Column(groupings[index], text)

    return (
        *(value(index) for index in range(len(groupings))),
        Column("images", lambda group: str(group.image_count), is_number=True),
        Column(
            "succeeded", lambda group: str(group.succeeded_count), is_number=True, is_detail=True
        ),
        Column("failed", lambda group: str(group.failed_count), is_number=True, is_detail=True),
        Column("seconds", lambda group: f"{group.gpu_seconds:.1f}", is_number=True, is_detail=True),
        Column(
            "energy",
            lambda group: energy_text(group.energy_millijoules, group.energy_source),
            is_number=True,
        ),
        Column("price", lambda group: format_money(group.price), is_number=True),
    )
