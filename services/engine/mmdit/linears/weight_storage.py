"""FP8 is how the weight is kept; it is widened again for every product.

For GPUs without FP8 arithmetic (Ampere) and for little memory: half the bytes, no more speed.
"""

import torch
from torch.nn.functional import linear

from services.engine.mmdit.quantised_rows import QuantisedRows, quantise_rows


class WeightStorageLinear:
    """x · weightᵀ + bias in the model's own type, the weight in E4M3 with a scale per channel."""

    takes_quantised_rows = False

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight = quantise_rows(weight)
        self._bias = bias

    def __call__(self, rows: torch.Tensor | QuantisedRows) -> torch.Tensor:
        assert isinstance(rows, torch.Tensor)
        # E4M3 fits into bf16 without loss; only the scale is rounded.
        widened = self._weight.values.to(rows.dtype) * self._weight.scales.to(rows.dtype)
        return linear(rows, widened, self._bias)

    @property
    def resident_bytes(self) -> int:
        return self._weight.values.nbytes + self._weight.scales.nbytes + self._bias.nbytes
