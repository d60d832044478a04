"""What a card tells of itself besides its energy, whoever reads it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What does not change about a card."""

    # The driver's unique name, which CUDA_VISIBLE_DEVICES takes, such as "GPU-5a…" or "MIG-7c…";
    # empty for a split card that has no slices: no worker can be given it.
    device_uuid: str
    memory_bytes: int
    # Where the driver lists it: "0", and "0-mig-3" for the GPU instance 3 of that card.
    position: str = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSample:
    """What its sensors say now; None where the card has no such sensor."""

    temperature_celsius: float | None
    power_watts: float | None
    memory_used_bytes: int | None
    # Share of the driver's last sample period (up to a second) in which a kernel ran.
    utilization: float | None
    # Of its multiprocessors; a card that is hot or at its power limit lowers it.
    clock_megahertz: int | None
    # Why it runs slower than it could, such as "SW_THERMAL_SLOWDOWN".
    throttle_reasons: tuple[str, ...]


class GpuSensors(Protocol):
    """The sensors of one card."""

    @property
    def facts(self) -> CardFacts: ...

    def read(self) -> SensorSample:
        """Ask them all; blocks for milliseconds.

        Raises:
            CounterUnavailableError: The driver does not answer now.
        """
        ...
