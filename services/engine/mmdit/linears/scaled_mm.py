"""FP8 times FP8 by torch: a scale per row of the activations, a scale per output channel."""

from typing import Final

import torch
from torch.nn.functional import linear, pad

from services.engine.mmdit.quantised_rows import E4M3, QuantisedRows, quantise_rows

# What the FP8 product asks of both inner and outer widths.
WIDTH_MULTIPLE: Final = 16
# On an H100 some widths of Large and Medium have no product for fewer than 80 to 96 rows.
ROWS_LEAST_ON_GPU: Final = 128


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
        count = quantised.values.shape[0]
        if not quantised.values.is_cuda:
            return self._multiply_widened(quantised)
        if count < ROWS_LEAST_ON_GPU:
            return self.multiply(with_empty_rows(quantised, ROWS_LEAST_ON_GPU))[:count]
        return self.multiply(quantised)

    def _multiply_widened(self, rows: QuantisedRows) -> torch.Tensor:
        """The same numbers multiplied in float32; a CPU's own FP8 product is 100 times slower."""
        weight = self._values.float() * self._scales.T
        product = linear(rows.dequantised(torch.float32), weight, self._bias.float())
        return product.to(self._out_dtype)

    def multiply(self, rows: QuantisedRows) -> torch.Tensor:
        """The FP8 product itself."""
        return torch._scaled_mm(  # noqa: SLF001  # pyright: ignore[reportPrivateImportUsage]
            rows.values,
            self._values.T,
            scale_a=rows.scales,
            scale_b=self._scales,
            bias=self._bias,
            out_dtype=self._out_dtype,
            use_fast_accum=rows.values.is_cuda,
        )

    @property
    def resident_bytes(self) -> int:
        return self._values.nbytes + self._scales.nbytes + self._bias.nbytes


def with_empty_rows(rows: QuantisedRows, count: int) -> QuantisedRows:
    """Zeros below, up to `count` rows."""
    missing = (0, 0, 0, count - rows.values.shape[0])
    # torch pads no E4M3, whose zero is the byte 0.
    values = pad(rows.values.view(torch.uint8), missing).view(E4M3)
    return QuantisedRows(values, pad(rows.scales, missing, value=1.0))
