"""How big a model's parts are, from its configuration alone: no weight is read."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from services.engine.errors import DamagedModelError
from services.engine.known_models import KNOWN_MODELS
from services.engine.library_noise import silence_libraries


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutline:
    """Numbers of parameters, and the few shapes that decide how much memory a step takes."""

    name: str
    block_parameters: int
    """The linears of attention and feed-forward: what an FP8 backend stores in 8 bits."""
    modulation_parameters: int
    """adaLN: they see only timestep and pooled text, so they need not stay on the device."""
    other_parameters: int
    """Embedders and the last layer, kept in high precision."""
    encoder_parameters: int
    encoder_layer_parameters_max: int
    """Of the largest single layer: what an offloaded encoder has on the device at a time."""
    vae_parameters: int
    width: int
    """Channels of a token."""
    text_channels: int
    vae_channels: int
    """At the picture's full size."""
    vae_scale: int
    patch_pixels: int
    """Width and height of what becomes one token; sizes are multiples of it."""
    native_size: int
    """Width and height it was made for, in pixels."""

    @property
    def transformer_parameters(self) -> int:
        return self.block_parameters + self.modulation_parameters + self.other_parameters


def known_outline(name: str) -> ModelOutline | None:
    """The outline of a well-known model by its hub name, without its files."""
    configurations = KNOWN_MODELS.get(name)
    return None if configurations is None else outline(name, configurations)


def read_outline(folder: Path) -> ModelOutline:
    """The outline of a folder in diffusers format, of which the index was checked before."""
    parts = ("transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
    paths = {part: folder / part / "config.json" for part in parts}
    try:
        configurations = {
            part: json.loads(path.read_text()) for part, path in paths.items() if path.exists()
        }
        return outline(str(folder), configurations)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DamagedModelError(
            f"a config.json in {folder} cannot be used ({error}): copy the model again"
        ) from error


def outline(name: str, configurations: Mapping[str, Mapping[str, Any]]) -> ModelOutline:
    """Build the parts without memory for their weights, and count."""
    silence_libraries()
    with torch.device("meta"):
        transformer: Any = SD3Transformer2DModel.from_config(dict(configurations["transformer"]))
        vae: Any = AutoencoderKL.from_config(dict(configurations["vae"]))
        encoders = [_build_encoder(part, c) for part, c in configurations.items() if "text" in part]
    blocks, modulation, other = _count_transformer(transformer)
    vae_scale = 2 ** (len(vae.config.block_out_channels) - 1)
    return ModelOutline(
        name=name,
        block_parameters=blocks,
        modulation_parameters=modulation,
        other_parameters=other,
        encoder_parameters=sum(_count(encoder.parameters()) for encoder in encoders),
        encoder_layer_parameters_max=max(_largest_layer(encoder) for encoder in encoders),
        vae_parameters=_count(vae.parameters()),
        width=transformer.config.num_attention_heads * transformer.config.attention_head_dim,
        text_channels=transformer.config.joint_attention_dim,
        vae_channels=vae.config.block_out_channels[0],
        vae_scale=vae_scale,
        patch_pixels=vae_scale * transformer.config.patch_size,
        native_size=transformer.config.sample_size * vae_scale,
    )


def _build_encoder(part: str, configuration: Mapping[str, Any]) -> torch.nn.Module:
    if part == "text_encoder_3":
        return T5EncoderModel(T5Config(**configuration))
    return CLIPTextModelWithProjection(CLIPTextConfig(**configuration))


def _count_transformer(transformer: torch.nn.Module) -> tuple[int, int, int]:
    """Parameters of the blocks' linears, of the modulation, and of the rest."""
    blocks = modulation = other = 0
    for name, parameter in transformer.named_parameters():
        if ".norm1" in name or name.startswith("norm_out"):
            modulation += parameter.numel()
        elif name.startswith("transformer_blocks."):
            blocks += parameter.numel()
        else:
            other += parameter.numel()
    return blocks, modulation, other


def _largest_layer(module: torch.nn.Module) -> int:
    return max(_count(part.parameters(recurse=False)) for part in module.modules())


def _count(parameters: Iterable[torch.nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
