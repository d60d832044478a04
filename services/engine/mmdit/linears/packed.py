"""Float32 on a CPU: the weight lies as oneDNN multiplies it fastest, and GELU is one pass with it.

`torch.nn.functional.linear` takes float32 to another library, which arranges the weight anew in
every call and stays 10 to 25 % below this one (docs/performance.md). The operators are those that
torch's own compiler puts in place of a linear; they have no public name.
"""

import torch

from services.engine.mmdit.quantised_rows import QuantisedRows


def can_be_packed(weight: torch.Tensor) -> bool:
    """Whether this torch and this device multiply the weight packed."""
    is_float32_on_cpu = weight.device.type == "cpu" and weight.dtype is torch.float32
    return is_float32_on_cpu and torch.backends.mkldnn.is_available()


class PackedLinear:
    """x · weightᵀ + bias; what a row becomes does not depend on how many come with it."""

    takes_quantised_rows = False

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        assert can_be_packed(weight)
        self._packed_weight = torch.ops.mkldnn._reorder_linear_weight(weight)  # noqa: SLF001
        self._bias = bias
        self.resident_bytes = weight.nbytes + bias.nbytes

    def __call__(self, rows: torch.Tensor | QuantisedRows) -> torch.Tensor:
        return self._multiply(rows, "none", "")

    def with_gelu(self, rows: torch.Tensor | QuantisedRows) -> torch.Tensor:
        """GELU, by its tanh approximation, of what the call gives, while it is in the cache."""
        return self._multiply(rows, "gelu", "tanh")

    def _multiply(
        self, rows: torch.Tensor | QuantisedRows, activation: str, algorithm: str
    ) -> torch.Tensor:
        assert isinstance(rows, torch.Tensor)
        return torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
            rows, self._packed_weight, self._bias, activation, [], algorithm
        )
