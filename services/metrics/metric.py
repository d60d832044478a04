"""What a metric is, and one value of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias, TypeVar

Label = TypeVar("Label", bound=str)


class Kind(StrEnum):
    """How Prometheus reads it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One name with its meaning; the unit is the end of the name."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value; its labels are in the order of the metric's."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


Samples: TypeAlias = Iterable[Sample]


def counted(metric: Metric, counts: Mapping[Label, float]) -> list[Sample]:
    """Return a sample for each value of a metric's only label."""
    # A copy: the work goes on in another thread meanwhile.
    return [Sample(metric, count, (label,)) for label, count in dict(counts).items()]
