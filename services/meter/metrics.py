"""What the meter tells Prometheus: each device's sensors, counter and segments."""

from collections.abc import Iterable

from metering.errors import CounterError
from metering.gpu_sensors import GpuSensors, SensorSample
from services.meter.metered_gpu import MeteredGpu
from services.metrics import names
from services.metrics.exposition import Exposition
from services.metrics.metric import Metric, Sample


def meter_exposition(gpus: Iterable[MeteredGpu]) -> Exposition:
    """Join what is known of the devices; a sensor is asked at a scrape, at most once a second."""
    exposition = Exposition("meter")
    devices = tuple(gpus)
    exposition.add(
        "sensors",
        lambda: [
            sample
            for gpu in devices
            if gpu.device.sensors is not None
            for sample in _sensed(gpu.device.gpu_id, gpu.device.sensors)
        ],
    )
    exposition.add("counters", lambda: [one for gpu in devices for one in _counted(gpu)])
    return exposition


def _sensed(gpu_id: str, sensors: GpuSensors) -> list[Sample]:
    size = Sample(names.GPU_MEMORY, sensors.facts.memory_bytes, (gpu_id,))
    try:
        sample = sensors.read()
    except CounterError:
        # The driver does not answer: what it said before is not what it says.
        return [size]
    return [
        size,
        *_known(gpu_id, sample),
        *(Sample(names.GPU_THROTTLED, 1, (gpu_id, reason)) for reason in sample.throttle_reasons),
    ]


def _known(gpu_id: str, sample: SensorSample) -> list[Sample]:
    values: tuple[tuple[Metric, float | None], ...] = (
        (names.GPU_TEMPERATURE, sample.temperature_celsius),
        (names.GPU_POWER, sample.power_watts),
        (names.GPU_BUSY, sample.utilization),
        (names.GPU_MEMORY_USED, sample.memory_used_bytes),
    )
    return [Sample(metric, value, (gpu_id,)) for metric, value in values if value is not None]


def _counted(gpu: MeteredGpu) -> list[Sample]:
    gpu_id, tally = gpu.device.gpu_id, gpu.tally
    closed, seconds = dict(tally.closed), dict(tally.closed_seconds)
    samples = [
        *(Sample(names.SEGMENTS, count, (gpu_id, kind)) for kind, count in closed.items()),
        *(Sample(names.SEGMENT_SECONDS, sum_, (gpu_id, kind)) for kind, sum_ in seconds.items()),
        Sample(names.SEGMENTS_ABANDONED, tally.abandoned, (gpu_id,)),
        Sample(names.SEGMENTS_PENDING, gpu.pending_count, (gpu_id,)),
    ]
    if gpu.is_started or gpu.is_failing:
        samples.append(Sample(names.COUNTER_UP, 0 if gpu.is_failing else 1, (gpu_id,)))
    if gpu.is_started and (reading := gpu.last_reading) is not None:
        source = gpu.device.counter.facts.source
        samples += [
            Sample(names.ENERGY, reading.millijoules / 1000, (gpu_id, source)),
            Sample(names.LAST_READING, gpu.wall_seconds(reading), (gpu_id,)),
        ]
    return samples
