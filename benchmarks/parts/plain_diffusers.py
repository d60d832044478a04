"""Plain diffusers on a card: its own pipeline, eager and with compiled blocks."""

# torch and diffusers are half untyped: as in services/engine, not strict.
# pyright: standard

from typing import Any

import torch
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import (
    StableDiffusion3Pipeline,
)

from benchmarks.parts.card_bench import Bench, Shape
from services.engine.random_weights import random_transformer, random_vae, scheduler


def make_pipeline(bench: Bench) -> Any:  # noqa: ANN401
    """Diffusers' own, without text encoders."""
    parts = bench.configurations
    transformer, vae = dict(parts["transformer"]), dict(parts["vae"])
    pipeline_class: Any = StableDiffusion3Pipeline
    pipeline = pipeline_class(
        transformer=random_transformer(transformer, device=bench.device, dtype=bench.dtype),
        vae=random_vae(vae, device=bench.device, dtype=bench.dtype),
        scheduler=scheduler(),
        **dict.fromkeys(
            (
                *("text_encoder", "text_encoder_2", "text_encoder_3"),
                *("tokenizer", "tokenizer_2", "tokenizer_3"),
            )
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def compile_blocks(pipeline: Any) -> None:  # noqa: ANN401
    """Anew for every shape, each with its own best kernels; otherwise they become dynamic."""
    torch.compiler.reset()
    for block in pipeline.transformer.transformer_blocks:
        block.compile()


def pipeline_prompts(bench: Bench, shape: Shape) -> dict[str, Any]:
    """The embeddings it takes instead of prompts."""
    positive = bench.embedding(bench.configurations["transformer"], 1)
    negative = bench.embedding(bench.configurations["transformer"], 2)
    return {
        "prompt_embeds": positive.tokens.expand(shape.batch, -1, -1),
        "pooled_prompt_embeds": positive.pooled.expand(shape.batch, -1),
        "negative_prompt_embeds": negative.tokens.expand(shape.batch, -1, -1),
        "negative_pooled_prompt_embeds": negative.pooled.expand(shape.batch, -1),
    }


def draw_by_pipeline(
    pipeline: Any,  # noqa: ANN401
    prompts: dict[str, Any],
    shape: Shape,
    *,
    steps: int,
) -> None:
    """A batch of pictures, as arrays."""
    pipeline(
        **prompts,
        height=shape.size,
        width=shape.size,
        num_inference_steps=steps,
        guidance_scale=7.0,
        output_type="np",
    )
