"""Where the seconds between the first image's claim and the last one's end went on one card."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

# A gap below it is the engine's own housekeeping between two pieces of work.
_GAP_SECONDS: Final = 0.002
_LONGEST_GAPS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One piece of work for so many images; seconds on any one clock."""

    start_seconds: float
    end_seconds: float
    image_count: int


def where_time_went(
    stretches: Sequence[Stretch], *, start_seconds: float, end_seconds: float
) -> dict[str, Any]:
    """Split a stretch of time into work by number of images, gaps, and what lies at either end.

    ``stretches`` must not overlap. Work of one image is steps alone, encoding and decoding.
    """
    inside = sorted(
        (one for one in stretches if start_seconds <= one.start_seconds < end_seconds),
        key=lambda one: one.start_seconds,
    )
    if not inside:
        return {"seconds": round(end_seconds - start_seconds, 3), "pieces": 0}
    worked: dict[int, list[float]] = defaultdict(list)
    for one in inside:
        worked[one.image_count].append(one.end_seconds - one.start_seconds)
    gaps = [
        (after.start_seconds - before.end_seconds, before.end_seconds - start_seconds)
        for before, after in pairwise(inside)
    ]
    long = [gap for gap in gaps if gap[0] >= _GAP_SECONDS]
    return {
        "seconds": round(end_seconds - start_seconds, 3),
        "before_work_seconds": round(inside[0].start_seconds - start_seconds, 3),
        "after_work_seconds": round(end_seconds - inside[-1].end_seconds, 3),
        "work": {
            str(images): {
                "pieces": len(seconds),
                "seconds": round(sum(seconds), 3),
                "median_seconds": round(statistics.median(seconds), 4),
            }
            for images, seconds in sorted(worked.items())
        },
        "short_gaps_seconds": round(sum(gap for gap, _ in gaps if gap < _GAP_SECONDS), 3),
        "long_gaps": len(long),
        "long_gaps_seconds": round(sum(gap for gap, _ in long), 3),
        "longest_gaps": [
            {"at_seconds": round(at, 2), "seconds": round(gap, 4)}
            for gap, at in sorted(long, reverse=True)[:_LONGEST_GAPS]
        ],
    }
