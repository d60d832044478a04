"""The model's own type, for weights and arithmetic."""

import torch
from torch.nn.functional import linear

from services.engine.mmdit.quantised_rows import QuantisedRows


class PlainLinear:
    """x · weightᵀ + bias."""

    takes_quantised_rows = False

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight = weight
        self._bias = bias

    def __call__(self, rows: torch.Tensor | QuantisedRows) -> torch.Tensor:
        assert isinstance(rows, torch.Tensor)
        return linear(rows, self._weight, self._bias)

    @property
    def resident_bytes(self) -> int:
        return self._weight.nbytes + self._bias.nbytes
