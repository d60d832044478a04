"""For the operator: where each joule of a GPU's hour went, against its own counter."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from starlette.responses import Response

from atelier.v1.fleet_service_pb2 import EnergyReconciliation
from services.console.visit import Visit

_DAYS: Final = (1, 7, 30)
PARTS: Final = (
    ("images", "Images"),
    ("overhead", "Overhead"),
    ("progress", "In progress"),
    ("load", "Loading"),
    ("parked", "Parked"),
    ("free", "Free"),
    ("unknown", "Unknown"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of an hour's bar, in percent of its width."""

    part: str
    x_percent: float
    width_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """A GPU's hour with its bar."""

    told: EnergyReconciliation
    pieces: Sequence[Piece]


async def energy(visit: Visit) -> Response:
    asked = visit.query("days")
    days = int(asked) if asked.isdecimal() and int(asked) in _DAYS else _DAYS[0]
    start_time = visit.now - timedelta(days=days)
    found = [hour async for hour in visit.client.get_energy_reconciliation(start_time=start_time)]
    found.sort(key=lambda hour: (-hour.hour_start_time.seconds, hour.gpu))
    return visit.page(
        "energy.html",
        hours=[Hour(told=hour, pieces=pieces_of(hour)) for hour in found],
        parts=PARTS,
        days=days,
        choices=_DAYS,
        counter=sum(hour.counter_millijoules for hour in found),
        images=sum(hour.images_millijoules for hour in found),
        residual=sum(abs(hour.residual_millijoules) for hour in found),
        unsealed=sum(not hour.sealed for hour in found),
    )


def pieces_of(hour: EnergyReconciliation) -> list[Piece]:
    """Lay the parts of an hour side by side. Pure."""
    amounts = [max(0, amount) for amount in _amounts(hour)]
    whole = sum(amounts) or 1
    pieces: list[Piece] = []
    before = 0
    for (part, _), amount in zip(PARTS, amounts, strict=True):
        width = round(100 * amount / whole, 2)
        pieces.append(
            Piece(part=part, x_percent=round(100 * before / whole, 2), width_percent=width)
        )
        before += amount
    return pieces


def _amounts(hour: EnergyReconciliation) -> tuple[int, ...]:
    return (
        hour.images_millijoules,
        hour.overhead_millijoules,
        hour.in_progress_millijoules,
        hour.load_millijoules,
        hour.parked_millijoules,
        hour.free_millijoules,
        hour.unknown_millijoules,
    )
