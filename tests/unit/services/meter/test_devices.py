import random
from pathlib import Path

import pytest
import trustme

from metering import nvml
from metering.calibration import Calibration, write_calibration
from metering.energy_counter import EnergyCounter
from metering.errors import CalibrationInvalidError, CounterError
from metering.power import PowerModel
from services.meter.devices import find_devices, powers_of
from services.meter.settings import Settings
from tests.gpu_simulation.card import SimulatedCard
from tests.gpu_simulation.fake_pynvml import CounterHabits, FakePynvml
from tests.integration.certificates import write_identity

MEASURED = PowerModel(
    idle_watts=110.0, free_watts=70.5, load_watts=180.0, joules_per_work_unit=0.0009
)
DEFAULT = PowerModel(
    idle_watts=124.0, free_watts=85.0, load_watts=150.0, joules_per_work_unit=0.00165
)


def counters() -> list[EnergyCounter]:
    card = SimulatedCard(random.Random(1))
    card.rest(200)
    return nvml.open_counters(FakePynvml(card, CounterHabits(), now=lambda: card.now_nanos))


def calibration_of(card: str, directory: Path) -> Path:
    path = directory / "calibration.json"
    calibration = Calibration(
        card=card,
        driver_version="580.95.05",
        measured_time="2026-11-25T12:00:00+00:00",
        refresh_milliseconds=100.0,
        free_watts=70.5,
        idle_watts=110.0,
        load_watts=180.0,
        joules_per_work_unit=0.0009,
    )
    write_calibration(calibration, path)
    return path


def settings(directory: Path, path: Path | None = None) -> Settings:
    return Settings(run_directory=directory, calibration_path=path)


def test_a_card_that_was_measured_starts_from_what_was_measured(tmp_path: Path) -> None:
    path = calibration_of("Simulated H200", tmp_path)

    assert powers_of(counters(), settings(tmp_path, path)) == [MEASURED]


@pytest.mark.parametrize("is_given", [True, False])
def test_any_other_card_starts_from_the_settings(tmp_path: Path, *, is_given: bool) -> None:
    path = calibration_of("NVIDIA A100", tmp_path) if is_given else None

    assert powers_of(counters(), settings(tmp_path, path)) == [DEFAULT]


@pytest.mark.parametrize("text", ["", "{}", '{"card": "x", "idle_watts": -1}', "\xff"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text, encoding="latin-1")

    with pytest.raises(CalibrationInvalidError):
        powers_of(counters(), settings(tmp_path, path))


def test_beyond_one_host_a_processor_is_not_metered(tmp_path: Path) -> None:
    identity = write_identity(tmp_path / "identity", trustme.CA(), "spiffe://atelier/system/meter")
    listening = Settings(
        run_directory=tmp_path,
        use_gpus=False,
        listen_address="127.0.0.1:0",
        identity_directory=identity,
    )

    with pytest.raises(CounterError, match="listen_address: needs a GPU"):
        find_devices(listening)
