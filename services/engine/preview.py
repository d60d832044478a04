"""A small picture of where a drawing stands: one linear map from latent channels to colour.

The map is fitted on a chart of colours which the model's own VAE encodes, so that it holds for
any model; it costs one small encoding when the engine starts, and almost nothing per preview.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.engine.loading import LoadedModel

# 4 × 4 × 4 colours; each fills a patch of 4 × 4 latents so that borders do not blur it.
LEVELS: Final = (-0.9, -0.3, 0.3, 0.9)
PATCH_LATENTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewProjection:
    """colour = latents · weights, with a constant 1 as last channel."""

    weights: torch.Tensor
    """[17, 3]"""

    def preview(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        """[16, h, w] → [h, w, 3]: an eighth of the picture's width and height."""
        colours = with_constant(latents.permute(1, 2, 0)) @ self.weights
        unit = (colours * 0.5 + 0.5).clamp(0.0, 1.0)
        return (unit * 255.0).round().to(torch.uint8).cpu().numpy()


def fit_projection(model: LoadedModel) -> PreviewProjection:
    """Least squares between the chart's colours and its latents."""
    colours = torch.tensor(list(itertools.product(LEVELS, repeat=3)), device=model.device)
    side = PATCH_LATENTS * model.vae_scale
    chart = colours.view(8, 8, 3).permute(2, 0, 1)
    chart = chart.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)
    encoded: Any = model.vae.encode(chart[None].to(model.dtype))
    latents = encoded.latent_dist.mode()[0].float()
    config = model.vae.config
    latents = (latents - (config.get("shift_factor") or 0.0)) * config["scaling_factor"]
    channels = latents.shape[0]
    patches = latents.view(channels, 8, PATCH_LATENTS, 8, PATCH_LATENTS)
    inner = patches[:, :, 1:3, :, 1:3].mean(dim=(2, 4)).reshape(channels, 64).T
    solution = torch.linalg.lstsq(with_constant(inner).cpu(), colours.cpu(), driver="gelsd")
    return PreviewProjection(weights=solution.solution.to(model.device))


def with_constant(latents: torch.Tensor) -> torch.Tensor:
    """[..., channels] → [..., channels + 1]."""
    return torch.cat([latents, torch.ones_like(latents[..., :1])], dim=-1)
