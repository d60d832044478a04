"""Drawing with a model in training, many pictures at once, to see how far it is."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from torch import Tensor

from services.engine.training.captioned_latents import Tokens, tokenize
from services.engine.training.joint_model import JointModel
from services.engine.training.judge import Judge, Verdicts, join_verdicts
from services.engine.training.vocabulary import plain_prompt

STEPS: Final = 20
GUIDANCE: Final = 4.5
T5_LENGTH: Final = 77


@torch.no_grad()
def draw_pictures(
    pipeline: Any, model: JointModel, prompts: Sequence[str], *, seed: int, steps: int = STEPS
) -> Tensor:
    """[N, 3, size, size] from -1 to 1."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        return _draw(pipeline, model, prompts, seed=seed, steps=steps, device=device)


def _draw(
    pipeline: Any,
    model: JointModel,
    prompts: Sequence[str],
    *,
    seed: int,
    steps: int,
    device: torch.device,
) -> Tensor:
    config = pipeline.transformer.config
    tokens = tokenize(pipeline, [*[""] * len(prompts), *prompts], device=device)
    every = torch.arange(2 * len(prompts), device=device)
    embedding, pooled = model.embed(_cut(tokens, every))
    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(steps)
    sigmas = scheduler.sigmas.tolist()
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (len(prompts), config.in_channels, config.sample_size, config.sample_size)
    latents = torch.randn(shape, generator=generator).to(device)
    for sigma, following in pairwise(sigmas):
        levels = torch.full((2 * len(prompts),), sigma, device=device)
        velocity = model.predict(latents.repeat(2, 1, 1, 1), levels, embedding, pooled)
        unguided, guided = velocity.chunk(2)
        latents = latents + (following - sigma) * (unguided + GUIDANCE * (guided - unguided))
    return _decode(pipeline.vae, latents)


def _cut(tokens: Tokens, rows: Tensor) -> Tokens:
    return tokens.pick(rows, t5_length=T5_LENGTH)


def _decode(vae: Any, latents: Tensor) -> Tensor:
    scaled = latents / vae.config.scaling_factor + vae.config.shift_factor
    pictures = [vae.decode(part, return_dict=False)[0] for part in scaled.split(16)]
    return torch.cat(pictures).float().clamp(-1, 1)


def judge_prompts(
    pipeline: Any,
    model: JointModel,
    judge: Judge,
    subjects: Sequence[tuple[str, str, str]],
    *,
    seed: int,
    batch: int,
    steps: int = STEPS,
) -> Verdicts:
    """Draw each (object, colour, background) once and let the judge look."""
    verdicts: list[Verdicts] = []
    for start in range(0, len(subjects), batch):
        part = subjects[start : start + batch]
        prompts = [plain_prompt(subject) for subject in part]
        pictures = draw_pictures(pipeline, model, prompts, seed=seed + start, steps=steps)
        verdicts.append(judge.verdicts(pictures, part))
    return join_verdicts(verdicts)
