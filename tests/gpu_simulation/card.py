"""A GPU whose every millijoule is known: what it draws, millisecond by millisecond.

Its physics are not the meter's model: each shape of work has a power of its own, ±15 % around what
its floating-point operations would suggest, everything grows by a few percent as the card warms up,
clocks dip for moments and work slows down with them, and all of it is noisy.

Times are nanoseconds on whatever clock the caller keeps.
"""

import random
from collections.abc import Hashable
from dataclasses import dataclass, field
from math import exp
from typing import Final

MS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """What kind of card it is; the watts are an H200's."""

    free_watts: float = 85.0
    # With a process that does nothing.
    parked_watts: float = 124.0
    # On top, for work of the model's own shape.
    work_watts: float = 566.0
    # Uniform within this, for each shape of work.
    shape_spread: float = 0.15
    # How much more everything takes once it is warm, and how soon it is.
    heat_gain: float = 0.04
    heat_seconds: float = 20.0
    # Clocks dip about this often, by 20 to 50 %, for 50 to 400 ms.
    dip_seconds: float = 8.0
    # One standard deviation from millisecond to millisecond; it hangs on for about ten of them.
    noise_watts: float = 6.0


@dataclass(slots=True)
class SimulatedCard:
    """One card, from time zero on."""

    source: random.Random
    physics: Physics = field(default_factory=Physics)
    # A process is on it.
    has_process: bool = True
    # Joules ×1000 drawn up to each millisecond.
    _energy: list[float] = field(default_factory=lambda: [0.0])
    _load_watts: float = 0.0
    _noise: float = 0.0
    _warmth: float = 0.0
    _clock: float = 1.0
    _dip_left_ms: int = 0
    _shapes: dict[Hashable, float] = field(default_factory=dict[Hashable, float])

    @property
    def now_nanos(self) -> int:
        return (len(self._energy) - 1) * MS

    def energy_at(self, nanos: float) -> float:
        """Millijoules drawn up to a moment that has passed."""
        position = max(0.0, nanos / MS)
        index = min(int(position), len(self._energy) - 2)
        if index < 0:
            return 0.0
        before, after = self._energy[index], self._energy[index + 1]
        return before + (after - before) * (position - index)

    def watts_at(self, nanos: float, *, averaged_over_ms: int) -> float:
        start_nanos = max(0.0, nanos - averaged_over_ms * MS)
        if nanos <= start_nanos:
            return self.physics.free_watts
        return (self.energy_at(nanos) - self.energy_at(start_nanos)) / (nanos - start_nanos) * MS

    def factor_of(self, shape: Hashable) -> float:
        """What work of this shape takes, as a multiple of the model's."""
        if shape not in self._shapes:
            spread = self.physics.shape_spread
            self._shapes[shape] = self.source.uniform(1 - spread, 1 + spread)
        return self._shapes[shape]

    def load(self, shape: Hashable | None, *, share: float = 1.0) -> None:
        """From now on work of this shape runs, with this share of the full power; None: nothing."""
        self._load_watts = (
            0.0 if shape is None else self.physics.work_watts * self.factor_of(shape) * share
        )

    def rest(self, milliseconds: int) -> None:
        """Let time pass."""
        for _ in range(milliseconds):
            self._tick()

    def rest_until(self, nanos: int) -> None:
        while self.now_nanos < nanos:
            self._tick()

    def work(self, shape: Hashable, *, full_speed_ms: float, share: float = 1.0) -> None:
        """Do what takes so long while clocks do not dip."""
        self.load(shape, share=share)
        left = full_speed_ms
        while left > 0:
            self._tick()
            left -= self._clock
        self.load(None)

    def _tick(self) -> None:
        physics = self.physics
        self._move_clock()
        busy = self._load_watts / physics.work_watts
        self._warmth += (busy - self._warmth) * (1 - exp(-0.001 / physics.heat_seconds))
        self._noise = 0.9 * self._noise + self.source.gauss(0, physics.noise_watts)
        base = physics.parked_watts if self.has_process else physics.free_watts
        # Power falls faster than speed when clocks dip.
        watts = base + self._load_watts * self._clock**1.5
        watts *= 1 + physics.heat_gain * self._warmth
        # One millisecond of watts is as many millijoules.
        self._energy.append(self._energy[-1] + max(1.0, watts + self._noise))

    def _move_clock(self) -> None:
        if self._dip_left_ms:
            self._dip_left_ms -= 1
        elif self._load_watts and self.source.random() < 0.001 / self.physics.dip_seconds:
            self._dip_left_ms = self.source.randint(50, 400)
            self._clock = self.source.uniform(0.5, 0.8)
        else:
            self._clock = 1.0
