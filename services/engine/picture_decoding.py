"""Latents → picture, one image at a time: the decoder's memory is many times a step's."""

import numpy as np
import torch
from numpy.typing import NDArray

from services.engine.loading import LoadedModel


def decode_picture(model: LoadedModel, latents: torch.Tensor) -> NDArray[np.uint8]:
    """[16, h, w] → [8h, 8w, 3], rounded as diffusers' image processor does."""
    config = model.vae.config
    shift = config.get("shift_factor") or 0.0
    scaled = latents / config["scaling_factor"] + shift
    decoded = model.vae.decode(scaled[None].to(model.dtype), return_dict=False)[0][0]
    unit = (decoded.float() * 0.5 + 0.5).clamp(0.0, 1.0)
    return (unit * 255.0).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
