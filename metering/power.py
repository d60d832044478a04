"""How much power each kind of work draws: stated to begin with, and learned from the counter.

Only the ratios within an interval of the counter matter: they decide how its increment is divided.
The model says watts = idle + work ÷ time × joules per unit of work; what really flows differs from
that by picture size, batch and kernel. So each *shape* of work (how many images took part, how much
work it was) has a factor of its own. Every increment says how wrong the factors were together, and
each is moved by its part of that, the less the surer it is: a Kalman filter without covariances.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import hypot
from typing import Final, NamedTuple

from tenants.ids import ImageId

_SECOND_NANOS: Final = 1_000_000_000
_MS_NANOS: Final = 1_000_000
# How far a shape's power lies from the model's before anything is known of it, relative, one
# standard deviation: power differs by about this much between picture sizes of equal work.
UNKNOWN_SHAPE_ERROR: Final = 0.15
# Power is never steadier than this within one shape: noise, clocks that dip, heat.
NOISE: Final = 0.04
# What is known of a shape grows old: the card gets warmer. Per increment.
_FORGETTING_VARIANCE: Final = 0.005**2
# Before anything is known of it: the counter of an H200 shows no lag, others show some.
_UNKNOWN_LAG_MS: Final = 10.0
_FORGETTING_LAG_MS: Final = 0.05
_LAG_MS_MIN: Final = -10.0
_LAG_MS_MAX: Final = 60.0
_FACTOR_MIN: Final = 0.1
_FACTOR_MAX: Final = 10.0
# A worker names what it likes in its marks; the shapes used the longest ago are forgotten.
_SHAPES_MAX: Final = 500
_DIGITS: Final = 3


class SegmentKind(StrEnum):
    """What a stretch of a GPU's time was, as far as the meter can tell."""

    # Images were worked on.
    WORK = "WORK"
    # A model was loaded or warmed up.
    LOAD = "LOAD"
    # A worker was there and did nothing.
    PARKED = "PARKED"
    # A worker was there and nobody knows what it did.
    SILENT = "SILENT"
    # No worker was there.
    FREE = "FREE"
    # The meter did not look.
    UNKNOWN = "UNKNOWN"


class AttemptWork(NamedTuple):
    """Work done for one attempt at one image."""

    image_id: ImageId
    attempt: int
    # Modelled billions of floating-point operations.
    units: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerModel:
    """What is known of a device before its counter has told more."""

    # With a process on the device that does nothing. Positive, so that every moment has a weight.
    idle_watts: float
    # Without one.
    free_watts: float
    # While a model is loaded or warmed up, whose work nobody counts.
    load_watts: float
    # On top of idle, for a billion floating-point operations.
    joules_per_work_unit: float

    def watts_of(
        self, kind: SegmentKind, work: Iterable[AttemptWork], duration_nanos: int
    ) -> float:
        """Return the mean modelled power of a stretch."""
        if kind in (SegmentKind.LOAD, SegmentKind.SILENT):
            return self.load_watts
        if kind is SegmentKind.FREE:
            return self.free_watts
        units = sum(part.units for part in work)
        return self.idle_watts + units * self.joules_per_work_unit * _SECOND_NANOS / duration_nanos


class Shape(NamedTuple):
    """What stretches have in common that draw alike."""

    kind: SegmentKind
    image_count: int = 0
    # To three digits, so that a shape does not fall apart by rounding.
    units: str = ""


class Power(NamedTuple):
    """What a stretch is taken to draw."""

    watts: float
    # One standard deviation, relative; stretches of one shape err together.
    error: float
    shape: Shape


class Drawn(NamedTuple):
    """A part of an increment: for how long it drew what it was taken to draw."""

    power: Power
    nanos: int


@dataclass(slots=True)
class _Factor:
    """By how much the model is to be multiplied, and the relative variance of that."""

    value: float
    variance: float


class LearnedPower:
    """What one device draws, as far as its counter has told by now, and how far that lags."""

    def __init__(self, model: PowerModel) -> None:
        self._model = model
        # A counter may show what was drawn a moment ago; in milliseconds.
        self._lag_ms = 0.0
        self._lag_variance = _UNKNOWN_LAG_MS**2
        self._factors: OrderedDict[Shape, _Factor] = OrderedDict()
        # Of all work together: what a shape starts from that was never seen.
        self._work = _Factor(1.0, UNKNOWN_SHAPE_ERROR**2)

    @property
    def lag_nanos(self) -> int:
        """How much earlier than it is shown a reading was true."""
        return round(self._lag_ms * _MS_NANOS)

    @property
    def lag_error_nanos(self) -> float:
        return self._lag_variance**0.5 * _MS_NANOS

    def of(self, kind: SegmentKind, work: Sequence[AttemptWork], duration_nanos: int) -> Power:
        """Return what a stretch of this kind is taken to draw."""
        shape = shape_of(kind, work)
        factor = self._factors.get(shape) or self._unknown(kind)
        watts = self._model.watts_of(kind, work, duration_nanos) * factor.value
        return Power(watts, factor.variance**0.5, shape)

    def learn(
        self,
        parts: Sequence[Drawn],
        *,
        millijoules: int,
        error_millijoules: float,
    ) -> None:
        """Hold what was drawn against what was taken to be.

        Args:
            parts: What filled one whole increment of the counter.
            millijoules: The increment.
            error_millijoules: One standard deviation of it, for the moments of its two readings.
        """
        drawn: dict[Shape, float] = {}
        for part in parts:
            energy = part.power.watts * part.nanos / _MS_NANOS
            drawn[part.power.shape] = drawn.get(part.power.shape, 0.0) + energy
        expected = sum(drawn.values())
        factors = {shape: self._known(shape) for shape in drawn}
        # Where more is drawn at the end than at the beginning, a lagging counter shows too little.
        lag_watts = parts[0].power.watts - parts[-1].power.watts
        variance = (
            hypot(error_millijoules, NOISE * expected) ** 2
            + sum(factors[shape].variance * energy**2 for shape, energy in drawn.items())
            + self._lag_variance * lag_watts**2
        )
        surprise = (millijoules - expected) / variance
        for shape, energy in drawn.items():
            _move(factors[shape], energy=energy, surprise=surprise, variance=variance)
        self._move_lag(lag_watts, surprise=surprise, variance=variance)
        self._forget()

    def _move_lag(self, watts: float, *, surprise: float, variance: float) -> None:
        gain = self._lag_variance * watts
        lag_ms = self._lag_ms + gain * surprise
        self._lag_ms = min(max(lag_ms, _LAG_MS_MIN), _LAG_MS_MAX)
        self._lag_variance += _FORGETTING_LAG_MS**2 - gain**2 / variance

    def _unknown(self, kind: SegmentKind) -> _Factor:
        value = self._work.value if kind is SegmentKind.WORK else 1.0
        return _Factor(value, UNKNOWN_SHAPE_ERROR**2)

    def _known(self, shape: Shape) -> _Factor:
        if shape not in self._factors:
            self._factors[shape] = self._unknown(shape.kind)
        self._factors.move_to_end(shape)
        if shape.kind is SegmentKind.WORK:
            self._work = self._factors[shape]
        return self._factors[shape]

    def _forget(self) -> None:
        while len(self._factors) > _SHAPES_MAX:
            self._factors.popitem(last=False)


def shape_of(kind: SegmentKind, work: Sequence[AttemptWork]) -> Shape:
    """Return what stretches of this kind and work have in common."""
    if not work:
        return Shape(kind)
    units = sum(part.units for part in work)
    return Shape(kind, len(work), f"{units:.{_DIGITS}g}")


def _move(factor: _Factor, *, energy: float, surprise: float, variance: float) -> None:
    gain = factor.variance * energy
    value = factor.value * (1 + gain * surprise)
    factor.value = min(max(value, _FACTOR_MIN), _FACTOR_MAX)
    factor.variance -= gain**2 / variance
    factor.variance += _FORGETTING_VARIANCE
