"""Puts the fused group norm into diffusers' decoder, whose weights and order stay as they are."""

from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

# A kernel is launched by kernel[grid](...), which no type of Triton's tells.
# pyright: reportIndexIssue=false, reportArgumentType=false
from services.engine.vae.norm_kernels import apply_kernel, partial_sums_kernel, statistics_kernel

# Numbers in one tile, and programs that gather sums: four for each of Hopper's 132 processors.
TILE: Final = 8192
PROGRAMS: Final = 512


class FusedGroupNormSilu(torch.nn.Module):
    """`silu(norm(x))` for channels-last [pictures, channels, h, w], channels a power of two."""

    def __init__(self, norm: torch.nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        pictures, channels, height, width = pixels.shape
        groups, count, rows = self.norm.num_groups, height * width, max(1, TILE // channels)
        partials = pixels.new_empty((pictures, PROGRAMS, 2, groups), dtype=torch.float32)
        statistics = pixels.new_empty((pictures, 2, groups), dtype=torch.float32)
        output = torch.empty_like(pixels)
        shape = {"CHANNELS": channels, "GROUPS": groups, "ROWS": rows}
        partial_sums_kernel[(PROGRAMS, pictures)](
            pixels, partials, count, **shape, PROGRAMS=PROGRAMS
        )
        statistics_kernel[(pictures,)](
            partials,
            statistics,
            count * channels // groups,
            self.norm.eps,
            GROUPS=groups,
            PROGRAMS=PROGRAMS,
        )
        apply_kernel[(-(-count // rows), pictures)](
            pixels, statistics, self.norm.weight, self.norm.bias, output, count, **shape
        )
        return output


def norm_and_silu(norm: torch.nn.GroupNorm) -> torch.nn.Module:
    """Fused where the kernels can: their tiles have powers of two, as Large has."""
    if all(count.bit_count() == 1 for count in (norm.num_channels, norm.num_groups)):
        return FusedGroupNormSilu(norm)
    return torch.nn.Sequential(norm, torch.nn.SiLU())


def fuse_decoder_norms(vae: AutoencoderKL) -> None:
    """Replace every norm that SiLU follows in a channels-last decoder; call once."""
    decoder: Any = vae.decoder
    for resnet in decoder.mid_block.resnets:
        _fuse_resnet(resnet)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            _fuse_resnet(resnet)
    decoder.conv_norm_out = norm_and_silu(decoder.conv_norm_out)
    decoder.conv_act = torch.nn.Identity()


def _fuse_resnet(resnet: Any) -> None:  # noqa: ANN401  diffusers' ResnetBlock2D
    resnet.norm1 = norm_and_silu(resnet.norm1)
    resnet.norm2 = norm_and_silu(resnet.norm2)
    # Of the resnet it is applied after both norms and nowhere else (there is no time embedding).
    resnet.nonlinearity = torch.nn.Identity()
