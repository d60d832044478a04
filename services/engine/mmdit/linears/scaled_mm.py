"""FP8 times FP8 by torch: a scale per row of the activations, a scale per output channel."""

from typing import Final

import torch

from services.engine.mmdit.quantised_rows import QuantisedRows, quantise_rows

# What the FP8 product asks of both inner and outer widths.
WIDTH_MULTIPLE: Final = 16


class ScaledMmLinear:
    """x · weightᵀ + bias, both factors in E4M3; rows do not touch one another's scales."""

    takes_quantised_rows = True

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        outputs, inputs = weight.shape
        assert outputs % WIDTH_MULTIPLE == inputs % WIDTH_MULTIPLE == 0
        quantised = quantise_rows(weight)
        # Its transpose is column-major, which is what the hardware's product wants.
        self._values = quantised.values
        self._scales = quantised.scales.T.contiguous()
        self._bias = bias
        self._out_dtype = weight.dtype

    def __call__(self, rows: torch.Tensor | QuantisedRows) -> torch.Tensor:
        quantised = quantise_rows(rows) if isinstance(rows, torch.Tensor) else rows
        return torch._scaled_mm(  # noqa: SLF001  # pyright: ignore[reportPrivateImportUsage]
            quantised.values,
            self._values.T,
            scale_a=quantised.scales,
            scale_b=self._scales,
            bias=self._bias,
            out_dtype=self._out_dtype,
            use_fast_accum=quantised.values.is_cuda,
        )

    @property
    def resident_bytes(self) -> int:
        return self._values.nbytes + self._scales.nbytes + self._bias.nbytes
