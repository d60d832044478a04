"""What the transformer is told about one image, worked out once instead of in every step.

2.7 of Large's 8.1 billion parameters are modulation: linears on the time step and the pooled
prompt that give each layer its shifts, scales and gates. They see one row per image and step, so
all steps' rows are computed together when an image begins; the steps then read a few megabytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Protocol

import torch
from torch.nn.functional import linear, silu

from services.engine.mmdit.block import LayerModulation
from services.engine.mmdit.rows import Shift

# Pieces of one layer's modulation, each as wide as the model.
PICTURE_PIECES: Final = 6
PICTURE_PIECES_WITH_SECOND_ATTENTION: Final = 9
TEXT_PIECES: Final = 6
LAST_PIECES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """One image's prompts and schedule, as the layers take them.

    Rows are its copies: one, or with guidance two, the negative prompt's first.
    """

    modulation: torch.Tensor
    """[steps, copies, pieces of all layers · width]"""
    context: torch.Tensor
    """[copies, text tokens, width]"""


class ModulationWeights(Protocol):
    """All layers' modulation linears as one tall matrix."""

    def project(self, rows: torch.Tensor) -> torch.Tensor:
        """[rows, width] → [rows, pieces of all layers · width]."""
        ...

    @property
    def resident_bytes(self) -> int:
        """What of it lies on the device all the time."""
        ...


class ResidentModulation:
    """The matrix stays on the device."""

    def __init__(self, parts: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._weight = torch.cat([weight for weight, _ in parts])
        self._bias = torch.cat([bias for _, bias in parts])

    def project(self, rows: torch.Tensor) -> torch.Tensor:
        return linear(rows, self._weight, self._bias)

    @property
    def resident_bytes(self) -> int:
        return self._weight.nbytes + self._bias.nbytes


class OffloadedModulation:
    """The matrix waits in the host's memory and passes by the device layer by layer."""

    def __init__(
        self, parts: Sequence[tuple[torch.Tensor, torch.Tensor]], *, device: torch.device
    ) -> None:
        self._parts = [(_pinned(weight, device), _pinned(bias, device)) for weight, bias in parts]
        self._device = device

    def project(self, rows: torch.Tensor) -> torch.Tensor:
        projected = [
            linear(
                rows,
                weight.to(self._device, non_blocking=True),
                bias.to(self._device, non_blocking=True),
            )
            for weight, bias in self._parts
        ]
        return torch.cat(projected, dim=-1)

    @property
    def resident_bytes(self) -> int:
        return 0


def _pinned(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """In host memory that the GPU can fetch from by itself."""
    on_host = tensor.cpu()
    return on_host.pin_memory() if device.type == "cuda" else on_host


@dataclass(frozen=True, slots=True, kw_only=True)
class ModulationLayout:
    """Where in a row of modulation each layer's pieces lie."""

    width: int
    pieces: tuple[tuple[int, int], ...]
    """Of picture and text, layer by layer; then what the picture leaves with is two more."""

    def split(self, rows: torch.Tensor) -> tuple[list[LayerModulation], Shift]:
        """[images, all pieces · width] → views of it, by layer, and the exit's."""
        pieces = rows.unflatten(1, (-1, self.width))
        ends = [0]
        for picture, text in self.pieces:
            ends += [ends[-1] + picture, ends[-1] + picture + text]
        parts = [pieces[:, begin:end] for begin, end in pairwise(ends)]
        layers = [
            LayerModulation(picture=picture, text=text)
            for picture, text in zip(parts[::2], parts[1::2], strict=True)
        ]
        return layers, Shift(pieces[:, ends[-1]], pieces[:, ends[-1] + 1])


def layout_of(blocks: Sequence[Any], *, width: int) -> ModulationLayout:
    """The layout that diffusers' blocks need."""
    return ModulationLayout(
        width=width,
        pieces=tuple(
            (
                PICTURE_PIECES if block.attn2 is None else PICTURE_PIECES_WITH_SECOND_ATTENTION,
                LAST_PIECES if block.context_pre_only else TEXT_PIECES,
            )
            for block in blocks
        ),
    )


def modulation_parts(
    transformer: Any,  # noqa: ANN401  diffusers' model
    place: Callable[[torch.Tensor], torch.Tensor],
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases of every modulation linear, in the layout's order."""
    parts: list[tuple[torch.Tensor, torch.Tensor]] = []
    for block in transformer.transformer_blocks:
        parts.append(_placed(block.norm1.linear, place))
        text = _placed(block.norm1_context.linear, place)
        parts.append(_shift_first(text) if block.context_pre_only else text)
    parts.append(_shift_first(_placed(transformer.norm_out.linear, place)))
    return parts


def _placed(
    layer: torch.nn.Linear, place: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    return place(layer.weight), place(layer.bias)


def _shift_first(part: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """In diffusers the last norms give the scale before the shift, all others the shift first."""
    weight, bias = part
    return torch.cat(weight.chunk(2)[::-1]), torch.cat(bias.chunk(2)[::-1])


def project_steps(
    weights: ModulationWeights,
    time_text_embed: torch.nn.Module,
    *,
    timesteps: torch.Tensor,
    pooled: torch.Tensor,
) -> torch.Tensor:
    """[steps] and [copies, pooled width] → [steps, copies, all pieces · width]."""
    steps, copies = timesteps.shape[0], pooled.shape[0]
    embedded = time_text_embed(timesteps.repeat_interleave(copies), pooled.repeat(steps, 1))
    return weights.project(silu(embedded)).unflatten(0, (steps, copies))
