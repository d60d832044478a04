"""Divide a whole number by weights so that the parts add up to it exactly."""

from collections.abc import Sequence
from typing import Final

# Weights become whole numbers of this resolution, so that the division itself is exact: a float
# quotient rounded up would hand out one unit more than there is.
_RESOLUTION: Final = 1 << 40


def divide(total: int, weights: Sequence[float]) -> list[int]:
    """Return parts of ``total`` in proportion to ``weights``; the largest remainders round up.

    Weights are finite and not negative; where all are zero the parts are equal. Every part lies
    within one unit of its exact share, none is negative, and equal remainders favour the first.
    """
    assert total >= 0
    assert weights
    heaviest = max(weights)
    if heaviest <= 0:
        return divide(total, [1.0] * len(weights))
    shares = [int(weight / heaviest * _RESOLUTION) for weight in weights]
    whole = sum(shares)
    parts = [total * share // whole for share in shares]
    left_over = total - sum(parts)
    by_remainder = sorted(range(len(shares)), key=lambda i: -(total * shares[i] % whole))
    for index in by_remainder[:left_over]:
        parts[index] += 1
    return parts
