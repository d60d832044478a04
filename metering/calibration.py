"""What was measured of a card: the power model the meter starts from, in a file that names it.

`benchmarks/energy_on_gpu.py` writes it. It only shapes how the counter's increments are divided,
until the counter has taught the meter better; it never changes what a counter says.
"""

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError

from metering.errors import CalibrationInvalidError
from metering.power import PowerModel

_BYTES_MAX: Final = 1_000_000


class Calibration(BaseModel):
    """One card's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # As the driver names it, such as "NVIDIA H200".
    card: str
    driver_version: str
    # ISO 8601, UTC.
    measured_time: str
    refresh_milliseconds: PositiveFloat
    # No process is on the card.
    free_watts: PositiveFloat
    # A process with a loaded model waits.
    idle_watts: PositiveFloat
    load_watts: PositiveFloat
    # On top of idle, for a billion modelled floating-point operations.
    joules_per_work_unit: PositiveFloat

    @property
    def power(self) -> PowerModel:
        return PowerModel(
            idle_watts=self.idle_watts,
            free_watts=self.free_watts,
            load_watts=self.load_watts,
            joules_per_work_unit=self.joules_per_work_unit,
        )


def read_calibration(path: Path) -> Calibration:
    """Read a file.

    Raises:
        CalibrationInvalidError: It is not there, or no calibration.
    """
    try:
        text = path.read_text(encoding="utf-8")[:_BYTES_MAX]
        return Calibration.model_validate_json(text)
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise CalibrationInvalidError(f"{path} is no calibration: {error}") from error


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a file that `read_calibration` reads."""
    path.write_text(calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")
