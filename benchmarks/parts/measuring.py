"""Seconds, joules and bytes of what a card is asked to draw."""

# torch and diffusers are half untyped: as in services/engine, not strict.
# pyright: standard

import gc
import time
from collections.abc import Callable
from typing import Final

import torch

from benchmarks.parts.card_bench import Bench
from metering.energy_counter import EnergyCounter
from services.engine.image_spec import ImageSpec
from services.engine.loading import LoadedModel
from services.engine.work_units import attention_work, linear_work

GIB: Final = 2**30
# NVIDIA's data sheet for Hopper SXM, dense, FLOP/s.
FP8_PEAK: Final = 1979e12
BF16_PEAK: Final = 989e12


def read_at_refresh(counter: EnergyCounter) -> tuple[float, int]:
    """Seconds and millijoules at the moment the counter has just moved."""
    before = counter.read(time.monotonic_ns())
    while (now := counter.read(time.monotonic_ns())) == before:
        pass
    return time.perf_counter(), now


def measure(
    bench: Bench, draw: Callable[[], None], *, images: int
) -> tuple[float, float | None, int]:
    """Seconds and joules per image, and how many were drawn for it.

    The joules are those between two refreshes that enclose the drawing, scaled to its seconds.
    """
    begin = read_at_refresh(bench.counter) if bench.counter else None
    began, drawn = time.perf_counter(), 0
    while drawn == 0 or time.perf_counter() - began < bench.measured_seconds:
        draw()
        bench.finish()
        drawn += images
    seconds = time.perf_counter() - began
    if begin is None or bench.counter is None:
        return seconds / drawn, None, drawn
    # Back to back, so that hardly any idling lies between the drawing and the counter's edge.
    end = read_at_refresh(bench.counter)
    watts = (end[1] - begin[1]) / 1000.0 / (end[0] - begin[0])
    return seconds / drawn, watts * seconds / drawn, drawn


def memory(bench: Bench) -> tuple[float, float]:
    """GiB held at the moment, and the most since the last reset."""
    if bench.device.type != "cuda":
        return 0.0, 0.0
    return torch.cuda.memory_allocated() / GIB, torch.cuda.max_memory_allocated() / GIB


def forget(bench: Bench) -> None:
    """Start a candidate with empty hands."""
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def roofline_seconds(model: LoadedModel, spec: ImageSpec, *, fp8: bool) -> float:
    """The least one image's steps could take by the data sheet."""
    peak = FP8_PEAK if fp8 else BF16_PEAK
    step = linear_work(model, spec) / peak + attention_work(model, spec) / BF16_PEAK
    return spec.num_inference_steps * step * 1e9
