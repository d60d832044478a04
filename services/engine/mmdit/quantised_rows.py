"""A matrix in FP8 with one scale per row: how activations meet FP8 weights."""

from dataclasses import dataclass
from typing import Final

import torch

E4M3: Final = torch.float8_e4m3fn
# The largest number of E4M3.
E4M3_MAX: Final = 448.0
# Rows of zeros get a scale too; far below any activation that matters.
ROW_MAX_LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class QuantisedRows:
    """values x scales gives back the matrix, up to E4M3's three bits of mantissa."""

    values: torch.Tensor
    """[rows, columns], float8_e4m3fn."""
    scales: torch.Tensor
    """[rows, 1], float32."""

    def dequantised(self, dtype: torch.dtype) -> torch.Tensor:
        return (self.values.float() * self.scales).to(dtype)


def quantise_rows(matrix: torch.Tensor) -> QuantisedRows:
    """Each row by its own largest magnitude, so that no row's outlier costs another row."""
    wide = matrix.float()
    scales = wide.abs().amax(dim=-1, keepdim=True).clamp_min(ROW_MAX_LEAST) / E4M3_MAX
    values = (wide / scales).clamp(-E4M3_MAX, E4M3_MAX).to(E4M3)
    return QuantisedRows(values, scales)
