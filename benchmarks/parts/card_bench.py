"""A card to measure the engine on: the model, the shapes, given embeddings, the counter."""

# torch and diffusers are half untyped: as in services/engine, not strict.
# pyright: standard

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from metering.energy_counter import EnergyCounter
from services.engine.drawing_model import DiffusionModel
from services.engine.image_spec import ImageSpec
from services.engine.known_models import KNOWN_MODELS
from services.engine.loading import LoadedModel
from services.engine.text_encoding import CLIP_TOKENS, TextEmbedding

NAMES: Final = {
    "large": "stabilityai/stable-diffusion-3.5-large",
    "medium": "stabilityai/stable-diffusion-3.5-medium",
}
# Long enough that the counter's 100 ms refresh is a few percent at most.
MEASURED_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Pictures drawn together."""

    size: int
    batch: int


SHAPES: Final = (
    Shape(size=1024, batch=1),
    Shape(size=1024, batch=4),
    Shape(size=512, batch=1),
    Shape(size=512, batch=8),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all candidates have in common."""

    name: str
    configurations: Mapping[str, Mapping[str, Any]]
    device: torch.device
    dtype: torch.dtype
    steps: int
    shapes: tuple[Shape, ...]
    measured_seconds: float
    counter: EnergyCounter | None

    def spec(self, shape: Shape, seed: int, *, steps: int | None = None) -> ImageSpec:
        return ImageSpec(
            prompt="p",
            negative_prompt="n",
            width=shape.size,
            height=shape.size,
            num_inference_steps=steps or self.steps,
            guidance_scale=7.0,
            seed=seed,
            max_sequence_length=256,
        )

    def embedding(self, configuration: Mapping[str, Any], seed: int) -> TextEmbedding:
        generator = torch.Generator(self.device).manual_seed(seed)
        numbers: dict[str, Any] = {"generator": generator, "device": self.device}
        tokens, pooled = (
            configuration["joint_attention_dim"],
            configuration["pooled_projection_dim"],
        )
        return TextEmbedding(
            tokens=torch.randn(CLIP_TOKENS + 256, tokens, **numbers).to(self.dtype),
            pooled=torch.randn(pooled, **numbers).to(self.dtype),
        )

    def finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class GivenEmbeddings(DiffusionModel):
    """The engine's door to a model whose prompts are not encoded but given."""

    def __init__(self, loaded: LoadedModel, given: Mapping[str, TextEmbedding]) -> None:
        super().__init__(loaded)
        self._given = given

    def is_remembered(self, prompt: str, max_sequence_length: int) -> bool:
        return True

    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        return self._given[prompt]


def real_bench(name: str) -> Bench:
    """On the first GPU."""
    from metering.nvml import open_counters  # noqa: PLC0415

    return Bench(
        name=name,
        configurations=KNOWN_MODELS[NAMES[name]],
        device=torch.device("cuda"),
        dtype=torch.bfloat16,
        steps=28,
        shapes=SHAPES,
        measured_seconds=MEASURED_SECONDS,
        counter=open_counters()[0],
    )


def rehearsal() -> Bench:
    """The whole way on the CPU with a model of toy size under Large's name."""
    large = KNOWN_MODELS[NAMES["large"]]
    transformer = {**large["transformer"], "num_layers": 2, "num_attention_heads": 2}
    transformer |= {"caption_projection_dim": 128, "joint_attention_dim": 64}
    vae = {**large["vae"], "block_out_channels": [32, 32, 64, 64]}
    return Bench(
        name="large",
        configurations={"transformer": transformer, "vae": vae},
        device=torch.device("cpu"),
        dtype=torch.float32,
        steps=2,
        shapes=(Shape(size=64, batch=1), Shape(size=64, batch=2)),
        measured_seconds=0.0,
        counter=None,
    )
