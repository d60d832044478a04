"""How faithful is each FP8 backend? The gates of one step, against float32.

    python benchmarks/fidelity.py                              (the shipped checkpoint, on the CPU)
    python benchmarks/fidelity.py --device cuda --model large medium shipped

Per layer: signal to quantisation noise of every linear on the activations it really sees, and with
an outlier of 100 times their largest number in one row of 64. One step: relative error and cosine
of the velocity of two images with guidance; what a batch mate, and a batch mate that is 1,000 times
too large, change in an image. A whole drawing: how far the latents end from float32's, beside what
bf16 alone does. Pictures themselves are judged by benchmarks/prompt_accuracy.py.
"""

# torch and diffusers are half untyped: as in services/engine, not strict.
# pyright: standard

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import torch
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

from services.engine.closeness import cosine, relative_error, signal_to_noise_db
from services.engine.devices import ArithmeticWish, choose_arithmetic, compute_capability
from services.engine.errors import ModelLoadError
from services.engine.known_models import KNOWN_MODELS
from services.engine.mmdit.arithmetic import Arithmetic
from services.engine.mmdit.backends import Backend
from services.engine.mmdit.linears.making import Linear, LinearMaker
from services.engine.mmdit.linears.plain import PlainLinear
from services.engine.mmdit.mmdit import Mmdit
from services.engine.mmdit.quantised_rows import QuantisedRows
from services.engine.mmdit.steps import StepInputs, take_step
from services.engine.random_weights import random_transformer

ROOT: Final = Path(__file__).parent.parent
SHIPPED: Final = ROOT / "deploy" / "models" / "atelier-mini"
MODELS: Final = {
    "large": "stabilityai/stable-diffusion-3.5-large",
    "medium": "stabilityai/stable-diffusion-3.5-medium",
}
WISHES: Final = {
    "none": ArithmeticWish(backend="none"),
    "scaled_mm": ArithmeticWish(backend="scaled_mm"),
    "transformer_engine": ArithmeticWish(backend="transformer_engine"),
    "transformer_engine block": ArithmeticWish(backend="transformer_engine", fp8_recipe="block"),
    "weight_storage": ArithmeticWish(backend="weight_storage"),
}
# The gates; docs/performance.md tells where they come from.
# E4M3 gives 31.8 dB for one factor and 28.7 for both on normal numbers. Behind a GELU most numbers
# are near zero, where E4M3 is coarse; transformer-engine's own quantisers get 25.8 there too.
SQNR_MEDIAN_MIN_DB: Final = 28.0
SQNR_LEAST_MIN_DB: Final = 25.0
ERROR_MAX: Final = 0.05
COSINE_MIN: Final = 0.999
# Rows of each layer's input that are kept for the per-layer measure.
SAMPLED_ROWS: Final = 64
TRAJECTORY_STEPS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A transformer that can be made again and again, and the size it is asked at."""

    name: str
    make: Callable[[], SD3Transformer2DModel]
    latent_size: int
    text_tokens: int
    steps: int
    """Of the drawing that is followed to its end; 0: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One backend on one model."""

    model: str
    backend: str
    sqnr_db_median: float
    sqnr_db_least: float
    sqnr_db_least_with_outlier: float
    velocity_error: float
    velocity_cosine: float
    mate_changes: float
    """Relative change of an image by drawing another beside it."""
    outlier_mate_changes: float
    """The same, by one whose latents are 1,000 times too large."""
    trajectory_error: float | None

    @property
    def passes(self) -> bool:
        return (
            self.sqnr_db_median >= SQNR_MEDIAN_MIN_DB
            and self.sqnr_db_least >= SQNR_LEAST_MIN_DB
            and self.velocity_error <= ERROR_MAX
            and self.velocity_cosine >= COSINE_MIN
        )


@dataclass(slots=True)
class RecordingLinear:
    """Notes some rows of what passes through."""

    inner: PlainLinear | None
    """Let go when all has been seen."""
    weight: torch.Tensor
    bias: torch.Tensor
    seen: torch.Tensor | None = None
    takes_quantised_rows: bool = False
    resident_bytes: int = 0

    def __call__(self, rows: torch.Tensor | QuantisedRows) -> torch.Tensor:
        assert isinstance(rows, torch.Tensor)
        assert self.inner is not None
        stride = max(1, rows.shape[0] // SAMPLED_ROWS)
        self.seen = rows[::stride][:SAMPLED_ROWS].float()
        return self.inner(rows)


class RecordingMaker(LinearMaker):
    """Makes plain linears that remember."""

    def __init__(self) -> None:
        super().__init__(Backend.NONE)
        self.made: list[RecordingLinear] = []

    def make(self, weight: torch.Tensor, bias: torch.Tensor) -> Linear:
        # Half the memory where nothing is lost by it: random weights are made in bf16.
        narrow = weight.bfloat16()
        kept = narrow if torch.equal(narrow.float(), weight) else weight
        recorder = RecordingLinear(PlainLinear(weight, bias), kept, bias)
        self.made.append(recorder)
        return recorder


class Gauge:
    """Asks every backend the same of one subject, on one device."""

    def __init__(self, subject: Subject, device: torch.device, dtype: torch.dtype) -> None:
        self._subject = subject
        self._device = device
        self._dtype = dtype
        self._generator = torch.Generator("cpu").manual_seed(7)
        self._config = subject.make().config
        channels, size = int(self._config["in_channels"]), subject.latent_size
        self._latents = self._random(2, channels, size, size)
        self._tokens = self._random(
            2, 2, subject.text_tokens, int(self._config["joint_attention_dim"])
        )
        self._pooled = self._random(2, 2, int(self._config["pooled_projection_dim"]))
        self._timesteps = torch.tensor([900.0, 400.0], device=device)
        maker = RecordingMaker()
        reference = self._make(Arithmetic(), torch.float32, maker)
        self._latents_at_end = self._trajectory(reference)
        self._expected = self._velocities(reference, self._latents)
        self._layers = maker.made
        for layer in self._layers:
            layer.inner = None

    def _random(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator).to(self._device)

    def _make(
        self, arithmetic: Arithmetic, dtype: torch.dtype, maker: LinearMaker | None = None
    ) -> Mmdit:
        return Mmdit(
            self._subject.make(),
            device=self._device,
            dtype=dtype,
            arithmetic=arithmetic,
            maker=maker,
        )

    def _inputs(self, model: Mmdit, latents: torch.Tensor) -> StepInputs:
        """Image 0 in one step of the schedule, image 1 in another."""
        conditionings = [
            model.condition(
                tokens=self._tokens[image].to(model.dtype),
                pooled=self._pooled[image].to(model.dtype),
                timesteps=self._timesteps,
            )
            for image in range(len(latents))
        ]
        return StepInputs(
            latents=latents,
            modulation=torch.stack([c.modulation[i] for i, c in enumerate(conditionings)]),
            context=torch.stack([c.context for c in conditionings]),
            guidance=latents.new_full((len(latents),), 5.0),
            sigma_change=latents.new_full((len(latents),), -1.0),
        )

    def _velocities(self, model: Mmdit, latents: torch.Tensor) -> torch.Tensor:
        asked = self._inputs(model, latents)
        return model.velocities(
            asked.latents, modulation=asked.modulation, context=asked.context
        ).float()

    def _trajectory(self, model: Mmdit) -> torch.Tensor | None:
        """Image 0 drawn to its end by Euler steps of one length."""
        if not self._subject.steps:
            return None
        steps = self._subject.steps
        conditioning = model.condition(
            tokens=self._tokens[0].to(model.dtype),
            pooled=self._pooled[0].to(model.dtype),
            timesteps=torch.linspace(1000.0, 1000.0 / steps, steps, device=self._device),
        )
        latents = self._latents[:1]
        for step in range(steps):
            inputs = StepInputs(
                latents=latents,
                modulation=conditioning.modulation[step : step + 1],
                context=conditioning.context[None],
                guidance=latents.new_full((1,), 5.0),
                sigma_change=latents.new_full((1,), -1.0 / steps),
            )
            latents = take_step(model, inputs)
        return latents

    def row(self, backend: str, arithmetic: Arithmetic) -> Row:
        """Everything about one backend."""
        signal, with_outlier = self._layers_in(arithmetic)
        model = self._make(arithmetic, self._dtype)
        together = self._velocities(model, self._latents)
        alone = self._velocities(model, self._latents[:1])
        beside_outlier = self._latents.clone()
        beside_outlier[1] *= 1000.0
        end = self._trajectory(model)
        return Row(
            model=self._subject.name,
            backend=backend,
            sqnr_db_median=median(signal),
            sqnr_db_least=min(signal),
            sqnr_db_least_with_outlier=min(with_outlier),
            velocity_error=relative_error(together, self._expected),
            velocity_cosine=cosine(together, self._expected),
            mate_changes=relative_error(together[0], alone[0]),
            outlier_mate_changes=relative_error(
                self._velocities(model, beside_outlier)[0], alone[0]
            ),
            trajectory_error=None
            if end is None or self._latents_at_end is None
            else relative_error(end, self._latents_at_end),
        )

    def _layers_in(self, arithmetic: Arithmetic) -> tuple[list[float], list[float]]:
        """Decibels of every layer as it is, and of its other rows with an outlier in one."""
        maker = LinearMaker(arithmetic.backend, recipe=arithmetic.recipe)
        plain: list[float] = []
        with_outlier: list[float] = []
        for layer in self._layers:
            assert layer.seen is not None
            quantised = maker.make(layer.weight.to(self._dtype), layer.bias.to(self._dtype))
            plain.append(decibels(layer, quantised, layer.seen, self._dtype))
            outlier = layer.seen.clone()
            outlier[0, 0] = 100.0 * outlier.abs().max()
            with_outlier.append(decibels(layer, quantised, outlier, self._dtype))
        return plain, with_outlier


def decibels(
    layer: RecordingLinear, quantised: Linear, rows: torch.Tensor, dtype: torch.dtype
) -> float:
    """Of all rows but the first, where an outlier may sit."""
    exact = rows @ layer.weight.float().T + layer.bias.float()
    return signal_to_noise_db(quantised(rows.to(dtype)).float()[1:], exact[1:])


def shipped_subject() -> Subject:
    """The checkpoint that ships, at the size it is drawn at."""

    def make() -> SD3Transformer2DModel:
        loaded: Any = SD3Transformer2DModel
        return loaded.from_pretrained(SHIPPED / "transformer", torch_dtype=torch.float32).eval()

    return Subject(
        name="shipped", make=make, latent_size=32, text_tokens=333, steps=TRAJECTORY_STEPS
    )


def random_subject(name: str, device: torch.device) -> Subject:
    """A real model's architecture at 1024², weights random in bf16."""
    configuration = dict(KNOWN_MODELS[MODELS[name]]["transformer"])

    def make() -> SD3Transformer2DModel:
        return random_transformer(configuration, device=device, dtype=torch.bfloat16)

    return Subject(name=name, make=make, latent_size=128, text_tokens=333, steps=0)


@torch.inference_mode()
def gauge(subject: Subject, device: torch.device, dtype: torch.dtype) -> Iterator[Row]:
    """Every backend that the device has."""
    asked = Gauge(subject, device, dtype)
    for backend, wish in WISHES.items():
        try:
            arithmetic = choose_arithmetic(wish, capability=compute_capability(device))
        except ModelLoadError as error:
            print(f"{subject.name:8} {backend:26} not here: {error}")
            continue
        gc.collect()
        yield asked.row(backend, arithmetic)


def show(row: Row) -> None:
    """One line."""
    trajectory = "" if row.trajectory_error is None else f"  drawing {row.trajectory_error:.3f}"
    print(
        f"{row.model:8} {row.backend:26} SQNR {row.sqnr_db_median:5.1f} dB median,"
        f" {row.sqnr_db_least:5.1f} least, {row.sqnr_db_least_with_outlier:5.1f} with an outlier"
        f"  step {row.velocity_error:.4f} cos {row.velocity_cosine:.5f}"
        f"  mate {row.mate_changes:.1e}, outlier mate {row.outlier_mate_changes:.1e}{trajectory}"
        f"  {'passes' if row.passes else 'FAILS'}",
        flush=True,
    )


def main() -> None:
    """Gauge, show, write, and fail where a gate is failed."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", nargs="+", default=["shipped"], choices=["shipped", *MODELS])
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    is_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if is_gpu else torch.float32
    rows: list[Row] = []
    for name in cast("list[str]", asked.model):
        subject = shipped_subject() if name == "shipped" else random_subject(name, device)
        for row in gauge(subject, device, dtype):
            show(row)
            rows.append(row)
    name = torch.cuda.get_device_name(device) if is_gpu else "cpu"
    result = {
        "device": name,
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python benchmarks/" + " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "torch": torch.__version__,
        "rows": [asdict(row) for row in rows],
    }
    asked.output.mkdir(parents=True, exist_ok=True)
    target = asked.output / f"fidelity_{name.replace(' ', '_').lower()}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    if not all(row.passes for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
