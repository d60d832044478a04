"""What happens between the matrix products, as an interface: norms, gates, GELU, heads.

`torch_rows.py` says it in plain torch (the CPU, and the reference); `triton_rows.py` does each in
one pass over memory on a GPU, quantising in the same pass where the next product is FP8.

Shapes: hidden [images, tokens, width]; shift, scale and gate [images, width]; "rows" are
[images · tokens, width], plain or quantised, as the next product takes them.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import torch

from services.engine.mmdit.quantised_rows import QuantisedRows

# Of every norm of the architecture.
EPSILON: Final = 1e-6

LinearInput = torch.Tensor | QuantisedRows


@dataclass(frozen=True, slots=True)
class Shift:
    """What modulates a normalised stream: x · (1 + scale) + shift."""

    shift: torch.Tensor
    scale: torch.Tensor


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """Weights of the RMS norms of queries and keys, [head channels] each."""

    query: torch.Tensor
    key: torch.Tensor


class Rows(Protocol):
    """One way to do it; results that go into a product are quantised if that product is FP8."""

    def normed(self, hidden: torch.Tensor, shift: Shift) -> LinearInput:
        """Layer norm, modulated."""
        ...

    def gated_sum(
        self, hidden: torch.Tensor, branch: torch.Tensor, gate: torch.Tensor
    ) -> torch.Tensor:
        """The hidden plus gate · branch; branch is [images · tokens, width]."""
        ...

    def gated_sum_normed(
        self, hidden: torch.Tensor, branch: torch.Tensor, gate: torch.Tensor, shift: Shift
    ) -> tuple[torch.Tensor, LinearInput]:
        """The gated sum, and its layer norm, modulated."""
        ...

    def gelu(self, rows: torch.Tensor) -> LinearInput:
        """GELU by its tanh approximation."""
        ...

    def place_heads(
        self, qkv: torch.Tensor, norms: HeadNorms, joint: torch.Tensor, *, first_token: int
    ) -> None:
        """Norm queries and keys and write all three into `joint`, from `first_token` on.

        qkv is [images · tokens, 3 · width] and may be overwritten; joint is [images, joint tokens,
        3, heads, head channels].
        """
        ...

    def attended(self, attention: torch.Tensor, first_token: int, tokens: int) -> LinearInput:
        """Some tokens of every image of [images, joint tokens, width], as rows."""
        ...
