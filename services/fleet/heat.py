"""How much of the time a GPU may work, so that it stays cool: slowed steadily, never stopped.

In a band below the limit the share falls in a straight line, so each temperature has its share and
the card settles where its heat and its cooling meet. That point lies below the limit, because at
the limit next to nothing is drawn. Readings are smoothed and the share moves slowly, so that
neither a noisy sensor nor a fan makes the pace swing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp
from typing import Final

from services.fleet.inventory import Gpu, GpuKind

# In place of a GPU's id: the policy of all that have none of their own.
ALL_GPUS: Final = "-"

# Below the limit by so much it begins: a card that gains 50 °C at full load settles within it.
BAND_CELSIUS: Final = 10.0
# A GPU is never stopped altogether: its images must end, and a stall must look like one.
DUTY_CYCLE_MIN: Final = 0.1
# The time in which a smoothed reading follows two thirds of a step.
_SMOOTHING_SECONDS: Final = 4.0
_FASTER_PER_SECOND: Final = 0.01
_SLOWER_PER_SECOND: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPolicy:
    """What the operator allows a GPU."""

    temperature_celsius_max: float
    # The load it may bear for long.
    duty_cycle_max: float


# A processor is cooled by its own system.
_UNBOUND: Final = PowerPolicy(temperature_celsius_max=95.0, duty_cycle_max=1.0)


class HeatControl:
    """The pace of one GPU; `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._smoothed_celsius: float | None = None
        self._duty_cycle: float | None = None
        self._last_time = 0.0

    def duty_cycle(
        self, policy: PowerPolicy, *, temperature_celsius: float | None, now: float
    ) -> float:
        """Return the share for now, in hundredths.

        Without a reading (no sensor, or the meter is away) the pace stays what it was: the card
        protects itself, and a guess would look like a measurement.
        """
        passed_seconds = now - self._last_time
        self._last_time = now
        if temperature_celsius is not None:
            self._smooth(temperature_celsius, passed_seconds)
        # A card that warms fast is seconds ahead of its smoothed reading.
        hottest = max(
            (celsius for celsius in (temperature_celsius, self._smoothed_celsius) if celsius),
            default=None,
        )
        wanted = _share_at(policy, hottest)
        if self._duty_cycle is None:
            self._duty_cycle = wanted
        else:
            most = self._duty_cycle + _FASTER_PER_SECOND * passed_seconds
            least = self._duty_cycle - _SLOWER_PER_SECOND * passed_seconds
            self._duty_cycle = min(max(wanted, least), most, policy.duty_cycle_max)
        return max(round(self._duty_cycle, 2), DUTY_CYCLE_MIN)

    def _smooth(self, celsius: float, passed_seconds: float) -> None:
        if self._smoothed_celsius is None:
            self._smoothed_celsius = celsius
            return
        kept = exp(-passed_seconds / _SMOOTHING_SECONDS)
        self._smoothed_celsius = kept * self._smoothed_celsius + (1 - kept) * celsius


class Heat:
    """The pace of every GPU of a host."""

    def __init__(self, policy: PowerPolicy) -> None:
        self._policy = policy
        self._controls: dict[str, HeatControl] = {}

    def duty_cycles(
        self, gpus: Iterable[Gpu], policies: Mapping[str, PowerPolicy], *, now: float
    ) -> dict[str, float]:
        """Return the pace of each GPU under its own policy, else under that of all of them."""
        return {
            gpu.gpu_id: self._controls.setdefault(gpu.gpu_id, HeatControl()).duty_cycle(
                policies.get(gpu.gpu_id) or policies.get(ALL_GPUS) or self._usual_policy(gpu),
                temperature_celsius=gpu.sample.temperature_celsius if gpu.sample else None,
                now=now,
            )
            for gpu in gpus
        }

    def _usual_policy(self, gpu: Gpu) -> PowerPolicy:
        """Without a word of the operator's: the settings for cards, nothing for the processor."""
        return self._policy if gpu.kind is GpuKind.NVIDIA else _UNBOUND


def _share_at(policy: PowerPolicy, celsius: float | None) -> float:
    if celsius is None:
        return policy.duty_cycle_max
    left_celsius = policy.temperature_celsius_max - celsius
    part = min(max(left_celsius / BAND_CELSIUS, 0.0), 1.0)
    return DUTY_CYCLE_MIN + part * (policy.duty_cycle_max - DUTY_CYCLE_MIN)
