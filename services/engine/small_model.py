"""A Stable Diffusion 3.5 of a few million parameters: every part of the real one, only narrow.

Three text encoders, an MMDiT with joint attention and normalised queries and keys, a VAE with
16 channels, flow matching. What holds for the architecture is written here once; the checkpoint
with random weights and the trained one are both made from it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import (
    StableDiffusion3Pipeline,
)
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedModel,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from services.engine.library_noise import silence_libraries
from services.engine.word_tokenizers import (
    CLIP_END,
    CLIP_G_PADDING,
    CLIP_L_PADDING,
    CLIP_START,
    CLIP_TOKENS,
    make_clip_tokenizer,
    make_t5_tokenizer,
)

TEXT_ENCODERS: Final = ("text_encoder", "text_encoder_2", "text_encoder_3")
LATENT_CHANNELS: Final = 16
HEAD_CHANNELS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallModelShape:
    """The widths and depths; the defaults are those of the checkpoint that ships (20 MB)."""

    layers: int = 6
    heads: int = 3
    clip_l_width: int = 64
    clip_g_width: int = 96
    t5_width: int = 192
    text_layers: int = 2
    vae_channels: tuple[int, ...] = (16, 32, 64, 64)
    vae_layers_per_block: int = 1
    vae_norm_groups: int = 8
    default_size: int = 256
    """Width and height that plain diffusers draws when none is given, in pixels."""
    size_max: int = 512
    timestep_shift: float = 2.0

    def __post_init__(self) -> None:
        # The pipeline pads the joined CLIP embeddings up to the width of T5's.
        assert self.t5_width >= self.clip_l_width + self.clip_g_width
        assert self.clip_l_width % 32 == self.clip_g_width % 32 == self.t5_width % 64 == 0

    @property
    def vae_scale(self) -> int:
        return 2 ** (len(self.vae_channels) - 1)


def build_small_model(shape: SmallModelShape, *, words: Sequence[str]) -> StableDiffusion3Pipeline:
    """All parts with freshly initialised float32 weights, drawn from torch's global generator."""
    tokenizer = make_clip_tokenizer(words, padding=CLIP_L_PADDING)
    tokenizer_2 = make_clip_tokenizer(words, padding=CLIP_G_PADDING)
    tokenizer_3 = make_t5_tokenizer(words)
    return StableDiffusion3Pipeline(
        transformer=build_transformer(shape),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shape.timestep_shift),
        vae=build_vae(shape),
        text_encoder=build_clip(shape, shape.clip_l_width, tokenizer, activation="quick_gelu"),
        tokenizer=tokenizer,
        text_encoder_2=build_clip(shape, shape.clip_g_width, tokenizer_2, activation="gelu"),
        tokenizer_2=tokenizer_2,
        text_encoder_3=build_t5(shape, tokenizer_3),
        tokenizer_3=tokenizer_3,
    )


def build_transformer(shape: SmallModelShape) -> SD3Transformer2DModel:
    """The MMDiT."""
    return SD3Transformer2DModel(
        sample_size=shape.default_size // shape.vae_scale,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=shape.layers,
        attention_head_dim=HEAD_CHANNELS,
        num_attention_heads=shape.heads,
        joint_attention_dim=shape.t5_width,
        caption_projection_dim=shape.heads * HEAD_CHANNELS,
        pooled_projection_dim=shape.clip_l_width + shape.clip_g_width,
        pos_embed_max_size=shape.size_max // shape.vae_scale // 2,
        qk_norm="rms_norm",
    )


def build_vae(shape: SmallModelShape) -> AutoencoderKL:
    """Picture to latents of 16 channels and back, without the quantising convolutions."""
    # diffusers annotates these as tuples of one.
    channels: Any = shape.vae_channels
    down_blocks: Any = ("DownEncoderBlock2D",) * len(channels)
    up_blocks: Any = ("UpDecoderBlock2D",) * len(channels)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=down_blocks,
        up_block_types=up_blocks,
        layers_per_block=shape.vae_layers_per_block,
        norm_num_groups=shape.vae_norm_groups,
        latent_channels=LATENT_CHANNELS,
        sample_size=shape.default_size,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def build_clip(
    shape: SmallModelShape, width: int, tokenizer: CLIPTokenizer, *, activation: str
) -> CLIPTextModelWithProjection:
    """One of the two CLIP text encoders."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=width // 32,
            max_position_embeddings=CLIP_TOKENS,
            hidden_act=activation,
            # The pooled embedding is read at the first end token, found by this very id.
            eos_token_id=token_id(tokenizer, CLIP_END),
            bos_token_id=token_id(tokenizer, CLIP_START),
            pad_token_id=token_id(tokenizer, str(tokenizer.pad_token)),
        )
    )


def token_id(tokenizer: CLIPTokenizer, token: str) -> int:
    """The number of a token that the vocabulary holds."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def build_t5(shape: SmallModelShape, tokenizer: T5Tokenizer) -> T5EncoderModel:
    """The T5 (v1.1) encoder."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=shape.t5_width,
            d_kv=64,
            num_heads=shape.t5_width // 64,
            d_ff=2 * shape.t5_width,
            num_layers=shape.text_layers,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def save_small_model(pipeline: StableDiffusion3Pipeline, folder: Path) -> None:
    """Write the folder in diffusers format, weights as float16 safetensors."""
    silence_libraries()
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    for encoder in TEXT_ENCODERS:
        _declare_float32(folder / encoder / "config.json")


def _declare_float32(config_path: Path) -> None:
    # transformers 5 loads weights in the type their config names, diffusers in float32 unless
    # told otherwise; with different ones plain `from_pretrained` gives a pipeline that crashes.
    config: dict[str, object] = json.loads(config_path.read_text())
    config["dtype"] = "float32"
    config_path.write_text(json.dumps(config, indent=2) + "\n")


def count_parameters(*models: torch.nn.Module | PreTrainedModel) -> int:
    """Parameters of the models together."""
    return sum(parameter.numel() for model in models for parameter in model.parameters())
