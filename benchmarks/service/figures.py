"""Figures from images: what they took, from when to when, and how even a rate was."""

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

from atelier.v1.energy_pb2 import EnergySource
from atelier.v1.image_pb2 import Image


def receipts_of(images: list[Image]) -> dict[str, Any]:
    """How the images were drawn and what they took, as their tenant reads it."""
    drawn = [image.receipt for image in images if image.HasField("receipt")]
    joules = [receipt.energy_millijoules / 1000 for receipt in drawn]
    return {
        "images": len(images),
        "drawn": len(drawn),
        "precision": sorted({receipt.precision for receipt in drawn}),
        "energy_sources": dict(Counter(EnergySource.Name(one.energy_source) for one in drawn)),
        "joules_per_image_median": round(statistics.median(joules), 1) if joules else None,
        "attempts": dict(Counter(receipt.attempt for receipt in drawn)),
    }


def seconds_between(images: list[Image]) -> float:
    """From the first image's claim to the last one's end, on the database's clock."""
    start = min(image.start_time.ToNanoseconds() for image in images)
    return (max(image.end_time.ToNanoseconds() for image in images) - start) / 1e9


def overlapping(stays: list[dict[str, Any]]) -> int:
    """How many pairs of studios were on one card at the same time; a stay is one unbroken time."""
    return sum(
        one["gpu"] == other["gpu"]
        and one["tenant"] < other["tenant"]
        and one["start_seconds"] < other["end_seconds"]
        and other["start_seconds"] < one["end_seconds"]
        for one in stays
        for other in stays
    )


def summary(rates: list[float]) -> Mapping[str, float]:
    """How even they are."""
    if len(rates) < 2:  # noqa: PLR2004 - no spread of one
        return {"windows": len(rates)}
    mean = statistics.mean(rates)
    return {
        "windows": len(rates),
        "steps_per_second": round(mean, 2),
        "deviation_percent": round(100 * statistics.stdev(rates) / mean, 1) if mean else 0.0,
    }
