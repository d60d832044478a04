"""What the active fleet knows for the operator: workers, devices, who waits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from services.fleet.fleet_store import WorkerRow
from services.fleet.inventory import Gpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one look of the active fleet ended with."""

    # Of the wall clock, since 1970.
    time_seconds: float
    gpus: Sequence[Gpu]
    workers: Sequence[WorkerRow]
    paces: Mapping[str, float]
    waiting_tenants: Collection[str]
    restrained_tenants: Collection[str]
    meter_answers: bool


@dataclass(slots=True, kw_only=True)
class FleetTally:
    """Written after each turn, read by others' threads."""

    # None while this fleet does not hold the lock: what it knew then is another's matter now.
    turn: Turn | None = None
