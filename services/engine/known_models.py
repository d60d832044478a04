"""The configurations of the Stable Diffusion 3.5 models one can buy or download, by their names.

They let a card be planned for before a single weight is fetched.
"""

from collections.abc import Mapping
from typing import Any, Final

_CLIP_L: Final = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "vocab_size": 49408,
}
_CLIP_G: Final = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "vocab_size": 49408,
}
_T5_XXL: Final = {
    "d_model": 4096,
    "d_ff": 10240,
    "d_kv": 64,
    "num_heads": 64,
    "num_layers": 24,
    "vocab_size": 32128,
    "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": False,
}
_VAE: Final = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 16,
    "sample_size": 1024,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def _stable_diffusion(
    *, layers: int, heads: int, dual_layers: int, positions: int
) -> Mapping[str, Mapping[str, Any]]:
    transformer = {
        "sample_size": 128,
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 16,
        "num_layers": layers,
        "attention_head_dim": 64,
        "num_attention_heads": heads,
        "joint_attention_dim": 4096,
        "caption_projection_dim": heads * 64,
        "pooled_projection_dim": 2048,
        "pos_embed_max_size": positions,
        "dual_attention_layers": tuple(range(dual_layers)),
        "qk_norm": "rms_norm",
    }
    return {
        "transformer": transformer,
        "vae": _VAE,
        "text_encoder": _CLIP_L,
        "text_encoder_2": _CLIP_G,
        "text_encoder_3": _T5_XXL,
    }


_LARGE: Final = _stable_diffusion(layers=38, heads=38, dual_layers=0, positions=192)
_MEDIUM: Final = _stable_diffusion(layers=24, heads=24, dual_layers=13, positions=384)
KNOWN_MODELS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "stabilityai/stable-diffusion-3.5-large": _LARGE,
    "stabilityai/stable-diffusion-3.5-large-turbo": _LARGE,
    "stabilityai/stable-diffusion-3.5-medium": _MEDIUM,
}
