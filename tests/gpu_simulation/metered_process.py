"""The meter's own process on a host with one simulated card.

`python -m tests.gpu_simulation.metered_process`
"""

from typing import Final

import pynvml  # pyright: ignore[reportMissingTypeStubs]

from metering import nvml
from metering.nvml_driver import MemoryInfo, UtilizationRates
from services.meter.__main__ import main
from tests.gpu_simulation.fake_pynvml import FakePynvml
from tests.gpu_simulation.live_card import LiveCard

GIB: Final = 1024**3


class _Memory:
    total = 141 * GIB
    used = 40 * GIB


class _Rates:
    gpu = 87


class _WarmDriver(FakePynvml):
    """A card of 81 °C that slows itself."""

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> MemoryInfo:  # noqa: N802
        return _Memory()

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> int:  # noqa: N802
        return 81

    def nvmlDeviceGetUtilizationRates(self, handle: object) -> UtilizationRates:  # noqa: N802
        return _Rates()

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int:  # noqa: N802
        return int(pynvml.nvmlClocksEventReasonSwThermalSlowdown)


def _warm_driver() -> _WarmDriver:
    plain = LiveCard().driver
    return _WarmDriver(plain.card, plain.habits, now=plain.now, spend=plain.spend)


if __name__ == "__main__":
    driver = _warm_driver()
    counters, sensors = nvml.open_counters(driver), nvml.open_sensors(driver)
    nvml.open_counters = lambda: counters  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType]
    nvml.open_sensors = lambda: sensors  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType]
    main()
