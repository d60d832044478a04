"""The operations between the products in plain torch: for the CPU, and what kernels must equal."""

import torch
from torch.nn.functional import gelu, layer_norm, rms_norm

from services.engine.mmdit.quantised_rows import quantise_rows
from services.engine.mmdit.rows import EPSILON, HeadNorms, LinearInput, Shift


class TorchRows:
    """See `rows.Rows`."""

    def __init__(self, *, quantises: bool) -> None:
        self._quantises = quantises

    def normed(self, hidden: torch.Tensor, shift: Shift) -> LinearInput:
        normed = layer_norm(hidden, hidden.shape[-1:], eps=EPSILON)
        modulated = torch.addcmul(shift.shift[:, None], normed, 1 + shift.scale[:, None])
        return self._as_input(modulated.flatten(0, 1))

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
        query, key, value = qkv.view(images, -1, 3, heads, channels).unbind(2)
        place = joint[:, first_token : first_token + query.shape[1]]
        place[:, :, 0] = rms_norm(query, (channels,), norms.query, EPSILON)
        place[:, :, 1] = rms_norm(key, (channels,), norms.key, EPSILON)
        place[:, :, 2] = value

    def attended(self, attention: torch.Tensor, first_token: int, tokens: int) -> LinearInput:
        part = attention[:, first_token : first_token + tokens]
        return self._as_input(part.flatten(0, 1))

    def _as_input(self, rows: torch.Tensor) -> LinearInput:
        return quantise_rows(rows) if self._quantises else rows
