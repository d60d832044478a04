"""One denoising step for several images at once, each at its own place of its own schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)

from services.engine.image_spec import ImageSpec
from services.engine.loading import LoadedModel
from services.engine.mmdit.conditioning import Conditioning
from services.engine.mmdit.steps import StepInputs
from services.engine.text_encoding import TextEmbedding


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSchedule:
    """Where an image's noise level stands before each step, and after the last."""

    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]
    """One more than timesteps; the last is the finished picture's."""


@dataclass(slots=True, kw_only=True)
class Drawing:
    """One image on its way from noise to picture."""

    spec: ImageSpec
    schedule: NoiseSchedule
    conditioning: Conditioning
    """Of the negative prompt and the prompt; of the prompt alone where there is no guidance."""
    latents: torch.Tensor
    """[16, height / 8, width / 8], float32 whatever the model's type: rounding would add up."""
    step_index: int = 0

    @property
    def is_finished(self) -> bool:
        return self.step_index == self.spec.num_inference_steps

    @property
    def sigma_change(self) -> float:
        """How far Euler's next step goes along the velocity; negative."""
        return self.schedule.sigmas[self.step_index + 1] - self.schedule.sigmas[self.step_index]

    def advance(self, latents: torch.Tensor) -> None:
        self.latents = latents
        self.step_index += 1


def start_drawing(
    model: LoadedModel,
    spec: ImageSpec,
    *,
    positive: TextEmbedding,
    negative: TextEmbedding | None,
) -> Drawing:
    """Noise of the spec's seed, at the beginning of the spec's schedule."""
    assert (negative is not None) == spec.is_guided
    schedule = make_schedule(model, spec)
    return Drawing(
        spec=spec,
        schedule=schedule,
        conditioning=condition(model, schedule, [negative, positive]),
        latents=initial_noise(model, spec),
    )


def condition(
    model: LoadedModel, schedule: NoiseSchedule, embeddings: Sequence[TextEmbedding | None]
) -> Conditioning:
    """What the transformer is told in all steps; the negative prompt first, as diffusers has it."""
    given = [embedding for embedding in embeddings if embedding is not None]
    return model.transformer.condition(
        tokens=torch.stack([embedding.tokens for embedding in given]),
        pooled=torch.stack([embedding.pooled for embedding in given]),
        timesteps=torch.tensor(schedule.timesteps, device=model.device),
    )


def initial_noise(model: LoadedModel, spec: ImageSpec) -> torch.Tensor:
    """The seed's noise, drawn on the CPU in float32: the same on every device and in every type."""
    channels = int(model.transformer.config["in_channels"])
    height, width = spec.height // model.vae_scale, spec.width // model.vae_scale
    generator = torch.Generator("cpu").manual_seed(spec.seed)
    noise = torch.randn((1, channels, height, width), generator=generator, dtype=torch.float32)
    return noise[0].to(model.device)


def make_schedule(model: LoadedModel, spec: ImageSpec) -> NoiseSchedule:
    """The scheduler's own timesteps and sigmas, shift included."""
    # A fresh one for each image: set_timesteps keeps its result in the scheduler.
    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_config(model.scheduler.config)
    scheduler.set_timesteps(spec.num_inference_steps, mu=dynamic_shift(model, spec))
    return NoiseSchedule(
        timesteps=tuple(scheduler.timesteps.tolist()), sigmas=tuple(scheduler.sigmas.tolist())
    )


def dynamic_shift(model: LoadedModel, spec: ImageSpec) -> float | None:
    """The shift by picture size, where the scheduler is configured so; the pipeline's defaults."""
    config = model.scheduler.config
    if not config.get("use_dynamic_shifting"):
        return None
    patches = (spec.height // model.size_multiple) * (spec.width // model.size_multiple)
    return calculate_shift(
        patches,
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5),
        config.get("max_shift", 1.16),
    )


def next_latents(model: LoadedModel, drawings: Sequence[Drawing]) -> list[torch.Tensor]:
    """Where each drawing stands after its next step; all must have one compatibility key.

    The drawings themselves stay as they are, so that a step that fails can be taken again.
    """
    return list(model.steps.take(step_inputs(drawings)).unbind())


def step_inputs(drawings: Sequence[Drawing]) -> StepInputs:
    """The drawings side by side, each at its own place of its own schedule."""
    latents = torch.stack([drawing.latents for drawing in drawings])
    conditionings = [drawing.conditioning for drawing in drawings]
    return StepInputs(
        latents=latents,
        modulation=torch.stack([d.conditioning.modulation[d.step_index] for d in drawings]),
        context=torch.stack([conditioning.context for conditioning in conditionings]),
        guidance=latents.new_tensor([drawing.spec.guidance_scale for drawing in drawings]),
        sigma_change=latents.new_tensor([drawing.sigma_change for drawing in drawings]),
    )
