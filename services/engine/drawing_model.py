"""What the engine asks of a model, and how a loaded Stable Diffusion 3.5 answers.

The engine decides who is drawn when; everything that touches a tensor's values is behind this door,
so the scheduler is tested with a model that draws nothing.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from services.engine.denoising import Drawing, next_latents, start_drawing
from services.engine.image_spec import ImageSpec
from services.engine.loading import LoadedModel, device_work_finisher
from services.engine.picture_decoding import decode_picture
from services.engine.preview import PreviewProjection, fit_projection
from services.engine.spec_limits import objection
from services.engine.text_encoding import TextEmbedding, TextEncoding
from services.engine.work_units import decode_work, step_work, text_work


class DrawingModel(Protocol):
    """Called from the engine's thread only. Work is in modelled FLOP / 1e9."""

    @property
    def last_mark_number(self) -> int: ...

    def finish_device_work(self) -> None: ...

    def free_unused_memory(self) -> None: ...

    def objection(self, spec: ImageSpec) -> str | None: ...

    def is_remembered(self, prompt: str, max_sequence_length: int) -> bool: ...

    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding: ...

    def start(
        self, spec: ImageSpec, *, positive: TextEmbedding, negative: TextEmbedding | None
    ) -> Drawing: ...

    def step(self, drawings: Sequence[Drawing]) -> list[torch.Tensor]: ...

    def decode(self, latents: torch.Tensor) -> NDArray[np.uint8]: ...

    def fit_projection(self) -> PreviewProjection: ...

    def text_work(self, max_sequence_length: int) -> float: ...

    def step_work(self, spec: ImageSpec) -> float: ...

    def decode_work(self, spec: ImageSpec) -> float: ...


class DiffusionModel:
    """A loaded model with its memory of encoded prompts."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._text = TextEncoding(loaded)
        self.finish_device_work = device_work_finisher(loaded.device)

    @property
    def last_mark_number(self) -> int:
        return self._loaded.last_mark_number

    def free_unused_memory(self) -> None:
        """Give what torch keeps for later back to the device, so that other sizes find room."""
        self._loaded.steps.forget()
        if self._loaded.device.type == "cuda":
            torch.cuda.empty_cache()

    def objection(self, spec: ImageSpec) -> str | None:
        return objection(self._loaded, spec)

    def is_remembered(self, prompt: str, max_sequence_length: int) -> bool:
        return self._text.is_remembered(prompt, max_sequence_length)

    def forget_prompts(self) -> None:
        """For measurements: the next prompts are encoded as if they were the first."""
        self._text = TextEncoding(self._loaded)

    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        return self._text.encode(prompt, max_sequence_length)

    def start(
        self, spec: ImageSpec, *, positive: TextEmbedding, negative: TextEmbedding | None
    ) -> Drawing:
        return start_drawing(self._loaded, spec, positive=positive, negative=negative)

    def step(self, drawings: Sequence[Drawing]) -> list[torch.Tensor]:
        return next_latents(self._loaded, drawings)

    def decode(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        return decode_picture(self._loaded, latents)

    def fit_projection(self) -> PreviewProjection:
        return fit_projection(self._loaded)

    def text_work(self, max_sequence_length: int) -> float:
        return text_work(self._loaded, max_sequence_length)

    def step_work(self, spec: ImageSpec) -> float:
        return step_work(self._loaded, spec)

    def decode_work(self, spec: ImageSpec) -> float:
        return decode_work(self._loaded, spec)
