"""FP8 times FP8 by NVIDIA's transformer-engine: its quantisers and its matrix product.

Not its `Linear` module: that one keeps a second, column-wise copy of every weight for the backward
pass, which is never run here (measured on Large: 15.6 GiB instead of 8).
"""

from enum import StrEnum
from typing import Any, Final

import torch
from torch.nn.functional import pad

from services.engine.mmdit.quantised_rows import QuantisedRows

# The FP8 product takes rows by the dozen and four.
ROWS_MULTIPLE: Final = 16


class Recipe(StrEnum):
    """How activations and weights are scaled; transformer-engine's names."""

    CURRENT = "current"
    """One scale for the whole tensor: an outlier in one picture coarsens its batch mates."""
    BLOCK = "block"
    """A scale for 128 numbers of a row (activations) and for 128 × 128 (weights)."""


class TransformerEngineLinear:
    """x · weightᵀ + bias."""

    takes_quantised_rows = False

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, recipe: Recipe) -> None:
        self._activation_quantiser = make_quantiser(recipe, dimensions=1, device=weight.device)
        weight_quantiser = make_quantiser(recipe, dimensions=2, device=weight.device)
        self._weight: Any = weight_quantiser(weight)
        self._bias = bias
        self._out_dtype = weight.dtype
        self._weight_bytes = weight.numel()

    def __call__(self, rows: torch.Tensor | QuantisedRows) -> torch.Tensor:
        # Imported here, for it is installed on GPU hosts alone.
        from transformer_engine.pytorch.cpp_extensions import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
            general_gemm,
        )

        assert isinstance(rows, torch.Tensor)
        padded = pad(rows, (0, 0, 0, -rows.shape[0] % ROWS_MULTIPLE))
        output, *_ = general_gemm(
            self._weight,
            self._activation_quantiser(padded),
            out_dtype=self._out_dtype,
            bias=self._bias,
            layout="TN",
        )
        return output[: rows.shape[0]]

    @property
    def resident_bytes(self) -> int:
        """One byte a weight; the few scales are left out."""
        return self._weight_bytes + self._bias.nbytes


def make_quantiser(recipe: Recipe, *, dimensions: int, device: torch.device) -> Any:  # noqa: ANN401
    """A quantiser of transformer-engine that makes the row-wise copy alone."""
    import transformer_engine.pytorch as te  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    if recipe is Recipe.CURRENT:
        return te.Float8CurrentScalingQuantizer(
            te.DType.kFloat8E4M3, device, rowwise=True, columnwise=False
        )
    return te.Float8BlockQuantizer(
        te.DType.kFloat8E4M3, rowwise=True, columnwise=False, block_scaling_dim=dimensions
    )
