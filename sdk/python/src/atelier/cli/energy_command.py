"""`atelier admin energy`: where the joules of each GPU and hour went."""

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from atelier.cli.output import Column, enum_word, joules_text, moment_text
from atelier.cli.session import Session, in_session
from atelier.cli.values import MOMENT
from atelier.names import ALL, last_id
from atelier.v1.energy_pb2 import EnergySource
from atelier.v1.fleet_service_pb2 import EnergyReconciliation

# In the order of the sum: the counter is all the others together.
_PARTS = (
    "counter",
    "images",
    "overhead",
    "in_progress",
    "parked",
    "free",
    "load",
    "unknown",
    "residual",
)


@click.command("energy")
@click.option("--gpu", default=ALL, help="Of this GPU; all unless given.")
@click.option("--from", "start", type=MOMENT, help="Hours that begin at or after.")
@click.option("--to", "end", type=MOMENT, help="Hours that begin before.")
@click.option(
    "--csv",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save as a file, in millijoules, instead.",
)
@in_session
def energy(
    session: Session,
    *,
    gpu: str,
    start: datetime | None,
    end: datetime | None,
    path: Path | None,
) -> None:
    """Show where each joule went, by GPU and UTC hour, against the GPU's own counter.

    The counter is the sum of what follows it; a residual other than 0 means that something is
    wrong. An hour that is sealed does not change any more.
    """
    with session.open_client() as client:
        hours = list(client.get_energy_reconciliation(gpu, start_time=start, end_time=end))
    if path is None:
        session.output.show_many(hours, COLUMNS)
        return
    write_csv(hours, path)
    click.echo(path)


def write_csv(hours: Iterable[EnergyReconciliation], path: Path) -> None:
    """Write one line for each GPU and hour; energy in whole millijoules, times in UTC."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        parts = [f"{part}_millijoules" for part in _PARTS]
        writer.writerow(["gpu", "hour_start_time", *parts, "energy_source", "seal_time"])
        for hour in hours:
            writer.writerow(
                [
                    last_id(hour.gpu),
                    _utc(hour.hour_start_time.ToDatetime(tzinfo=UTC)),
                    *(getattr(hour, part) for part in parts),
                    _source(hour),
                    _utc(hour.seal_time.ToDatetime(tzinfo=UTC)) if hour.sealed else "",
                ]
            )


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _source(hour: EnergyReconciliation) -> str:
    return enum_word(EnergySource.Name(hour.energy_source), "ENERGY_SOURCE")


def _joules(part: str) -> Column[EnergyReconciliation]:
    name = f"{part}_millijoules"
    return Column(
        part.replace("_", " "), lambda hour: joules_text(getattr(hour, name)), is_number=True
    )


COLUMNS: Sequence[Column[EnergyReconciliation]] = (
    Column("gpu", lambda hour: last_id(hour.gpu)),
    Column("hour", lambda hour: moment_text(hour.hour_start_time)),
    *(_joules(part) for part in _PARTS),
    Column("source", _source),
    Column("sealed", lambda hour: moment_text(hour.seal_time) or "open"),
)
