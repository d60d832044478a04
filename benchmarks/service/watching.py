"""What is noted while the service works: the card's sensors, a job's steps."""

import time
from threading import Event, Thread
from typing import Any, Final, Self

from atelier.v1.fleet_service_pb2 import Gpu
from atelier.v1.job_service_pb2 import Job
from benchmarks.service.bench import Bench

SENSORS: Final = (
    "temperature_celsius",
    "power_watts",
    "memory_used_bytes",
    "utilization",
    "clock_megahertz",
)


class SensorWatch:
    """Notes what the card says while something else goes on."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._done = Event()
        self.rows: list[dict[str, Any]] = []
        self._thread = Thread(target=self._watch, name="sensors", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=10)

    def _watch(self) -> None:
        began = time.monotonic()
        with self._bench.operator() as operator:
            for news in operator.watch_gpus():
                if self._done.is_set():
                    return
                for gpu in news.gpus:
                    self.rows.append(_sensor_row(gpu, time.monotonic() - began))


def _sensor_row(gpu: Gpu, seconds: float) -> dict[str, Any]:
    sample = gpu.sample
    told = {name: getattr(sample, name) for name in SENSORS if sample.HasField(name)}
    return {
        "seconds": round(seconds, 1),
        "gpu": gpu.name,
        "duty_cycle": gpu.duty_cycle,
        "throttle_reasons": list(sample.throttle_reasons),
        **told,
    }


def step_rates(
    bench: Bench, tenant: str, job: Job, *, seconds: float, window_seconds: float
) -> list[float]:
    """Watch a job for a while: steps a second, image by step taken, in windows of equal length."""
    newest: dict[str, int] = {}
    taken = 0
    counts: dict[int, int] = {}
    began = time.monotonic()
    with bench.studio(tenant) as studio:
        for news in studio.watch_job(job.name):
            passed = time.monotonic() - began
            if passed > seconds:
                break
            if news.HasField("progress"):
                name, step = news.progress.image, news.progress.step
                taken = max(step - newest.get(name, 0), 0)
                newest[name] = step
                window = int(passed / window_seconds)
                counts[window] = counts.get(window, 0) + taken
    whole = sorted(counts)[1:-1]
    return [round(counts[window] / window_seconds, 2) for window in whole]
