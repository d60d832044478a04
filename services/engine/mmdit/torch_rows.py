"""The operations between the products in plain torch: for the CPU, and what kernels must equal."""

import torch
from torch.linalg import vector_norm
from torch.nn.functional import gelu, layer_norm

from services.engine.mmdit.quantised_rows import quantise_rows
from services.engine.mmdit.rows import EPSILON, HeadNorms, LinearInput, Shift


class TorchRows:
    """See `rows.Rows`."""

    def __init__(self, *, quantises: bool) -> None:
        self._quantises = quantises

    def normed(self, hidden: torch.Tensor, shift: Shift) -> LinearInput:
        normed = layer_norm(hidden, hidden.shape[-1:], eps=EPSILON)
        torch.addcmul(shift.shift[:, None], normed, 1 + shift.scale[:, None], out=normed)
        return self._as_input(normed.flatten(0, 1))

    def gated_sum(
        self, hidden: torch.Tensor, branch: torch.Tensor, gate: torch.Tensor
    ) -> torch.Tensor:
        return torch.addcmul(hidden, gate[:, None], branch.view_as(hidden))

    def gated_sum_normed(
        self, hidden: torch.Tensor, branch: torch.Tensor, gate: torch.Tensor, shift: Shift
    ) -> tuple[torch.Tensor, LinearInput]:
        total = self.gated_sum(hidden, branch, gate)
        return total, self.normed(total, shift)

    def gelu(self, rows: torch.Tensor) -> LinearInput:
        return self._as_input(gelu(rows, approximate="tanh"))

    def place_heads(
        self, qkv: torch.Tensor, norms: HeadNorms, joint: torch.Tensor, *, first_token: int
    ) -> None:
        images, _, _, heads, channels = joint.shape
        given = qkv.view(images, -1, 3 * heads, channels)
        lengths = vector_norm(given, dim=-1, keepdim=True, dtype=torch.float32)
        scales = torch.rsqrt(lengths.square() / channels + EPSILON)
        # Values stay as they are. Taken along, whole rows reach their place in one long pass,
        # which takes half the time of a norm for each of queries and keys and three copies.
        scales[:, :, 2 * heads :] = 1.0
        weights = torch.cat((norms.query, norms.key, torch.ones_like(norms.key)))
        row = weights.view(3, 1, channels).expand(3, heads, channels).flatten()
        place = joint[:, first_token : first_token + given.shape[1]].flatten(2)
        torch.mul(given.mul_(scales).flatten(2), row, out=place)

    def attended(self, attention: torch.Tensor, first_token: int, tokens: int) -> LinearInput:
        part = attention[:, first_token : first_token + tokens]
        return self._as_input(part.flatten(0, 1))

    def _as_input(self, rows: torch.Tensor) -> LinearInput:
        return quantise_rows(rows) if self._quantises else rows
