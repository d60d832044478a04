"""A model that draws nothing: a picture's value is the number of steps that were taken of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from services.engine.denoising import Drawing
from services.engine.image_spec import ImageSpec
from services.engine.marks import Mark, MarkKind
from services.engine.preview import PreviewProjection
from services.engine.text_encoding import TextEmbedding

POISONOUS_SEED = 666
OVERSIZED_SEED = 777
NOTHING = TextEmbedding(tokens=torch.zeros(1, 1), pooled=torch.zeros(1))


@dataclass(slots=True, kw_only=True)
class FakeDrawing:
    """As much of a drawing as the engine looks at."""

    spec: ImageSpec
    latents: torch.Tensor = field(default_factory=lambda: torch.zeros(1))
    step_index: int = 0

    @property
    def is_finished(self) -> bool:
        return self.step_index == self.spec.num_inference_steps

    def advance(self, latents: torch.Tensor) -> None:
        self.latents = latents
        self.step_index += 1


@dataclass(slots=True)
class FakeModel:
    """Chokes on one seed, never has room for another, and holds so many images at once."""

    images_max: int = 100
    images_max_once_freed: int | None = None
    batch_sizes: list[int] = field(default_factory=list[int])
    last_mark_number: int = 0
    freed_count: int = 0
    failed_encodings_left: int = 0
    failed_decodings_left: int = 0

    def finish_device_work(self) -> None:
        pass

    def free_unused_memory(self) -> None:
        self.freed_count += 1
        if self.images_max_once_freed is not None:
            self.images_max = self.images_max_once_freed

    def objection(self, spec: ImageSpec) -> str | None:
        return None

    def is_remembered(self, prompt: str, max_sequence_length: int) -> bool:
        return False

    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        if self.failed_encodings_left:
            self.failed_encodings_left -= 1
            raise torch.OutOfMemoryError("injected")
        return NOTHING

    def start(
        self, spec: ImageSpec, *, positive: TextEmbedding, negative: TextEmbedding | None
    ) -> Drawing:
        return cast("Drawing", FakeDrawing(spec=spec))

    def step(self, drawings: Sequence[Drawing]) -> list[torch.Tensor]:
        seeds = {drawing.spec.seed for drawing in drawings}
        if len(drawings) > self.images_max or OVERSIZED_SEED in seeds:
            raise torch.OutOfMemoryError("injected")
        if POISONOUS_SEED in seeds:
            raise RuntimeError("injected")
        self.batch_sizes.append(len(drawings))
        return [drawing.latents + 1 for drawing in drawings]

    def decode(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        if self.failed_decodings_left:
            self.failed_decodings_left -= 1
            raise torch.OutOfMemoryError("injected")
        return np.full((1, 1, 3), int(latents), dtype=np.uint8)

    def fit_projection(self) -> PreviewProjection:
        return PreviewProjection(weights=torch.zeros(17, 3))

    def text_work(self, max_sequence_length: int) -> float:
        return 1.0

    def step_work(self, spec: ImageSpec) -> float:
        return 1.0

    def decode_work(self, spec: ImageSpec) -> float:
        return 1.0


class NoMarks:
    """A sink that remembers nothing."""

    def begin(self, kind: MarkKind, start_nanos: int) -> None:
        pass

    def end(self, mark: Mark) -> None:
        pass
