"""The real models' architectures with random weights, made where they are needed.

Time, memory and joules do not depend on what the weights say, so a card can be measured without
the gated download. No text encoders: embeddings are given, as for diffusers' own pipeline.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)

from services.engine.library_noise import silence_libraries
from services.engine.loading import LoadedModel, quicken_decoder
from services.engine.mmdit.arithmetic import Arithmetic
from services.engine.mmdit.mmdit import Mmdit
from services.engine.mmdit.steps import make_steps

SEED: Final = 35
# Stable Diffusion 3.5's own.
TIMESTEP_SHIFT: Final = 3.0


def random_transformer(
    configuration: dict[str, Any], *, device: torch.device, dtype: torch.dtype
) -> SD3Transformer2DModel:
    """Always the same weights on one kind of device."""
    silence_libraries()
    with _made_on(device, dtype):
        transformer: Any = SD3Transformer2DModel.from_config(configuration)
    return cast("SD3Transformer2DModel", transformer.eval().requires_grad_(False))  # noqa: FBT003


def random_vae(
    configuration: dict[str, Any], *, device: torch.device, dtype: torch.dtype
) -> AutoencoderKL:
    """Always the same weights on one kind of device."""
    with _made_on(device, dtype):
        vae: Any = AutoencoderKL.from_config(configuration)
    return cast("AutoencoderKL", vae.eval().requires_grad_(False))  # noqa: FBT003


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """As Stable Diffusion 3.5 is drawn with."""
    return FlowMatchEulerDiscreteScheduler(shift=TIMESTEP_SHIFT)


def random_model(
    name: str,
    configurations: Mapping[str, Mapping[str, Any]],
    *,
    device: torch.device,
    dtype: torch.dtype,
    arithmetic: Arithmetic,
) -> LoadedModel:
    """A model of the given shape (`known_models` has the real ones) without text encoders."""
    vae = random_vae(dict(configurations["vae"]), device=device, dtype=dtype)
    quicken_decoder(vae, device)
    source = random_transformer(dict(configurations["transformer"]), device=device, dtype=dtype)
    transformer = Mmdit(source, device=device, dtype=dtype, arithmetic=arithmetic)
    return LoadedModel(
        name=name,
        device=device,
        dtype=dtype,
        transformer=transformer,
        steps=make_steps(transformer),
        vae=vae,
        scheduler=scheduler(),
        clip_encoders=(),
        clip_tokenizers=(),
        t5_encoder=None,
        t5_tokenizer=None,
        last_mark_number=0,
    )


@contextmanager
def _made_on(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Parameters come into being on the device and in the type, eight billion in a second."""
    usual = torch.get_default_dtype()
    torch.manual_seed(SEED)
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(usual)
