"""Transformers of the real architecture, small, with weights that make every part matter."""

# torch and diffusers are half untyped: as in services/engine, not strict.
# pyright: standard

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

from services.engine.mmdit.arithmetic import Arithmetic
from services.engine.mmdit.mmdit import Mmdit

WIDTH = 192
TEXT_TOKENS = 21
POOLED = 160


def small_transformer(*, dual_attention_layers: tuple[int, ...] = ()) -> SD3Transformer2DModel:
    """Three layers; norms near one, everything else random, so that no term is zero by chance."""
    torch.manual_seed(3)
    dual: Any = dual_attention_layers
    transformer = SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=16,
        num_layers=3,
        attention_head_dim=64,
        num_attention_heads=3,
        joint_attention_dim=WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=POOLED,
        out_channels=16,
        pos_embed_max_size=24,
        dual_attention_layers=dual,
        qk_norm="rms_norm",
    )
    for name, parameter in transformer.named_parameters():
        centre = 1.0 if "norm_" in name and "linear" not in name else 0.0
        parameter.data.normal_(centre, 0.05)
    return transformer.eval().requires_grad_(False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Two images with guidance, each in another step of its schedule."""

    latents: torch.Tensor
    tokens: torch.Tensor
    pooled: torch.Tensor
    timesteps: torch.Tensor


def question() -> Question:
    generator = torch.Generator().manual_seed(5)
    return Question(
        latents=torch.randn(2, 16, 12, 16, generator=generator),
        tokens=torch.randn(2, 2, TEXT_TOKENS, WIDTH, generator=generator),
        pooled=torch.randn(2, 2, POOLED, generator=generator),
        timesteps=torch.tensor([900.0, 300.0]),
    )


def diffusers_answer(transformer: SD3Transformer2DModel, asked: Question) -> torch.Tensor:
    """[images, copies, 16, h, w], by diffusers' own forward in float32."""
    velocities = transformer(
        hidden_states=asked.latents.repeat_interleave(2, 0),
        timestep=asked.timesteps.repeat_interleave(2),
        encoder_hidden_states=asked.tokens.flatten(0, 1),
        pooled_projections=asked.pooled.flatten(0, 1),
        return_dict=False,
    )[0]
    return velocities.unflatten(0, (2, 2))


def our_answer(
    transformer: SD3Transformer2DModel,
    asked: Question,
    arithmetic: Arithmetic,
    *,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The same by our forward, which takes the transformer's weights away."""
    ours = Mmdit(transformer, device=torch.device("cpu"), dtype=dtype, arithmetic=arithmetic)
    conditionings = [
        ours.condition(tokens=tokens.to(dtype), pooled=pooled.to(dtype), timesteps=asked.timesteps)
        for tokens, pooled in zip(asked.tokens, asked.pooled, strict=True)
    ]
    # Image 0 is in the schedule's first step, image 1 in its second.
    modulation = [c.modulation[step] for step, c in enumerate(conditionings)]
    return ours.velocities(
        asked.latents,
        modulation=torch.stack(modulation),
        context=torch.stack([c.context for c in conditionings]),
    ).float()
