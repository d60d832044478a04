"""What metering costs: the same images by the same engine, with a meter and without one in turn."""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.parts.local_meter import LocalMeter
from services.engine.marks import Mark, MarkKind, MarkSink

ROUNDS: Final = 3


class SwitchedSink:
    """Passes marks on to whoever listens at the moment."""

    def __init__(self, sink: MarkSink | None) -> None:
        self.sink = sink

    def begin(self, kind: MarkKind, start_nanos: int) -> None:
        """Tell the listener, if there is one."""
        if self.sink is not None:
            self.sink.begin(kind, start_nanos)

    def end(self, mark: Mark) -> None:
        """Tell the listener, if there is one."""
        if self.sink is not None:
            self.sink.end(mark)


def meters_toll(
    draw: Callable[[], int], switch: SwitchedSink, make_meter: Callable[[], LocalMeter]
) -> dict[str, Any]:
    """Draw a round without and a round with a meter, three times; images per second of each."""
    rates: dict[str, list[float]] = {"without_a_meter": [], "with_a_meter": []}
    draw()
    for _ in range(ROUNDS):
        rates["without_a_meter"].append(_rate(draw))
        meter = make_meter()
        meter.start()
        meter.arrive()
        switch.sink = meter
        rates["with_a_meter"].append(_rate(draw))
        switch.sink = None
        meter.stop()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "images_per_second": {
            name: [round(value, 4) for value in values] for name, values in rates.items()
        },
        "with_over_without": round(medians["with_a_meter"] / medians["without_a_meter"], 4),
    }


def _rate(draw: Callable[[], int]) -> float:
    began = time.monotonic()
    count = draw()
    return count / (time.monotonic() - began)
