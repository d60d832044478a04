"""What `/metrics` says of a process: its samples, read at a scrape and at most once a second.

A source that cannot be read is left out and counted: no value is better than a wrong one.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from threading import Lock
from typing import Final

import structlog
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family

from services.metrics import names
from services.metrics.metric import Kind, Metric, Sample, Samples, counted

_FRESH_SECONDS: Final = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    name: str
    read: Callable[[], Samples]


class Exposition:
    """Collects from its sources in the thread of whoever scrapes."""

    def __init__(
        self, process: str, *, monotonic_seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic_seconds = monotonic_seconds
        self._sources: list[_Source] = []
        self._failures: Counter[str] = Counter()
        self._families: list[Family] = []
        self._due = float("-inf")
        self._lock = Lock()
        build = Sample(names.BUILD, 1, (process, version("atelier-servers")))
        self.registry = CollectorRegistry()
        for of_the_library in (ProcessCollector, PlatformCollector, GCCollector):
            of_the_library(registry=self.registry)
        self.registry.register(self)
        self.add("build", lambda: [build])

    def add(self, name: str, read: Callable[[], Samples]) -> None:
        """Read a source at each scrape, from another thread than the work's; it must be quick."""
        self._sources.append(_Source(name=name, read=read))
        self._failures[name] = 0

    def add_histogram(self, histogram: Histogram) -> None:
        """Show a histogram, which is filled while the work is done."""
        self.registry.register(histogram)

    def describe(self) -> Iterable[Family]:
        """Tell the registry nothing beforehand: what there is depends on what can be read."""
        return ()

    def collect(self) -> Iterable[Family]:
        """Return what the sources say now, or said less than a second ago."""
        with self._lock:
            now = self._monotonic_seconds()
            if now >= self._due:
                self._families = _families(self._samples())
                self._due = now + _FRESH_SECONDS
            return list(self._families)

    def _samples(self) -> list[Sample]:
        samples = [sample for source in self._sources for sample in self._read(source)]
        return [*samples, *counted(names.SOURCE_FAILURES, self._failures)]

    def _read(self, source: _Source) -> list[Sample]:
        try:
            return list(source.read())
        except Exception:
            # Whatever it was: what the others say must not be lost with it.
            log.exception("metrics_source_failed", source=source.name)
            self._failures[source.name] += 1
            return []


def make_histogram(metric: Metric, *, bounds: tuple[float, ...]) -> Histogram:
    """Make a histogram that is shown nowhere yet."""
    return Histogram(metric.name, metric.meaning, metric.labels, buckets=bounds, registry=None)


def _families(samples: Samples) -> list[Family]:
    """Group samples by metric, each of which may come from several sources."""
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for sample in samples:
        metric = sample.metric
        family = families.get(metric.name)
        if family is None:
            make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
            family = make(metric.name, metric.meaning, labels=metric.labels)
            families[metric.name] = family
        family.add_metric(sample.labels, sample.value)
    return list(families.values())
