"""The operations between the products on a GPU: each one pass over memory, quantising on the way.

Hand-written rather than left to torch.compile: no compilation per picture size and batch (18 s and
more each on an H200), the quantisation is always fused into its producer, and a change of tenant
starts cold in seconds. docs/decisions/ has the page.
"""

import torch

# A kernel is launched by kernel[grid](...), which no type of Triton's tells.
# pyright: reportIndexIssue=false, reportCallIssue=false
from services.engine.mmdit.quantised_rows import E4M3, QuantisedRows
from services.engine.mmdit.row_kernels import (
    attended_kernel,
    gelu_kernel,
    norm_kernel,
    parts_of,
    place_heads_kernel,
    warps_for,
)
from services.engine.mmdit.rows import EPSILON, HeadNorms, LinearInput, Shift


class TritonRows:
    """See `rows.Rows`; everything lies contiguous on one GPU in bf16 or fp16."""

    def __init__(self, *, quantises: bool) -> None:
        self._quantises = quantises

    def normed(self, hidden: torch.Tensor, shift: Shift) -> LinearInput:
        _, rows = self._norm(hidden, branch=None, gate=None, shift=shift)
        assert rows is not None
        return rows

    def gated_sum(
        self, hidden: torch.Tensor, branch: torch.Tensor, gate: torch.Tensor
    ) -> torch.Tensor:
        total, _ = self._norm(hidden, branch=branch, gate=gate, shift=None)
        return total

    def gated_sum_normed(
        self, hidden: torch.Tensor, branch: torch.Tensor, gate: torch.Tensor, shift: Shift
    ) -> tuple[torch.Tensor, LinearInput]:
        total, rows = self._norm(hidden, branch=branch, gate=gate, shift=shift)
        assert rows is not None
        return total, rows

    def _norm(
        self,
        hidden: torch.Tensor,
        *,
        branch: torch.Tensor | None,
        gate: torch.Tensor | None,
        shift: Shift | None,
    ) -> tuple[torch.Tensor, LinearInput | None]:
        images, tokens, width = hidden.shape
        modulation = gate if gate is not None else shift.shift if shift is not None else hidden
        total = hidden if branch is None else torch.empty_like(hidden)
        output = (
            None
            if shift is None
            else _Output(images * tokens, width, like=hidden, quantises=self._quantises)
        )
        head, tail = parts_of(width)
        norm_kernel[(images * tokens,)](
            hidden,
            hidden if branch is None else branch,
            modulation if gate is None else gate,
            total,
            modulation if shift is None else shift.shift,
            modulation if shift is None else shift.scale,
            hidden if output is None else output.values,
            hidden if output is None else output.scales,
            tokens,
            width,
            modulation.stride(0),
            EPSILON,
            HEAD=head,
            TAIL=tail,
            HAS_BRANCH=branch is not None,
            HAS_NORM=shift is not None,
            QUANTISES=self._quantises,
            num_warps=warps_for(width),
        )
        return total, None if output is None else output.taken()

    def gelu(self, rows: torch.Tensor) -> LinearInput:
        count, width = rows.shape
        output = _Output(count, width, like=rows, quantises=self._quantises)
        head, tail = parts_of(width)
        gelu_kernel[(count,)](
            rows,
            output.values,
            output.scales,
            width,
            HEAD=head,
            TAIL=tail,
            QUANTISES=self._quantises,
            num_warps=warps_for(width),
        )
        return output.taken()

    def place_heads(
        self, qkv: torch.Tensor, norms: HeadNorms, joint: torch.Tensor, *, first_token: int
    ) -> None:
        images, joint_tokens, _, heads, channels = joint.shape
        tokens = qkv.shape[0] // images
        place_heads_kernel[(images * tokens, 3)](
            qkv,
            norms.query,
            norms.key,
            joint,
            tokens,
            joint_tokens,
            first_token,
            heads,
            EPSILON,
            HEADS_BLOCK=power_of_two_above(heads),
            CHANNELS=channels,
            num_warps=4,
        )

    def attended(self, attention: torch.Tensor, first_token: int, tokens: int) -> LinearInput:
        images, joint_tokens, width = attention.shape
        output = _Output(images * tokens, width, like=attention, quantises=self._quantises)
        head, tail = parts_of(width)
        attended_kernel[(images * tokens,)](
            attention,
            output.values,
            output.scales,
            tokens,
            joint_tokens,
            first_token,
            width,
            HEAD=head,
            TAIL=tail,
            QUANTISES=self._quantises,
            num_warps=warps_for(width),
        )
        return output.taken()


class _Output:
    """Where a kernel writes the rows of the next product."""

    def __init__(self, rows: int, width: int, *, like: torch.Tensor, quantises: bool) -> None:
        self._quantises = quantises
        self.values = like.new_empty((rows, width), dtype=E4M3 if quantises else like.dtype)
        self.scales = like.new_empty((rows if quantises else 0, 1), dtype=torch.float32)

    def taken(self) -> LinearInput:
        return QuantisedRows(self.values, self.scales) if self._quantises else self.values


def power_of_two_above(width: int) -> int:
    """The smallest power of two that is at least `width`: kernels work on such blocks."""
    return 1 << (width - 1).bit_length()
