"""Is our engine as quick as the plain diffusers pipeline on the CPU?

    python benchmarks/engine_on_cpu.py [--pairs 5] [--threads 2]

Both draw the same pictures with the checkpoint that ships, in float32, with the same threads, in
one process, in turns: plain, ours, plain, ours, ... One image, then eight at once (the pipeline is
given eight prompts in one call). Our memory of encoded prompts is emptied before each turn. What
the engine's own loop costs is the CPU time of the process outside the model's calls, over that
inside.
"""

# diffusers' pipeline has no types worth the name.
# pyright: standard

import argparse
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Final, TypeVar

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion_3.pipeline_output import StableDiffusion3PipelineOutput
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import (
    StableDiffusion3Pipeline,
)
from engine_aids import NoMarks, ignore
from machine import describe_machine, write_result
from numpy.typing import NDArray

from services.engine.denoising import Drawing
from services.engine.drawing_model import DiffusionModel
from services.engine.drawn import Drawn
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey, ImageSpec
from services.engine.library_noise import silence_libraries
from services.engine.loading import load_model
from services.engine.text_encoding import TextEmbedding

ROOT: Final = Path(__file__).resolve().parents[1]
CHECKPOINT: Final = ROOT / "deploy" / "models" / "atelier-mini"
RESULTS: Final = ROOT / "benchmarks" / "results"
TARGETS: Final = {1: 1.0, 8: 1.15}
LOOP_TARGET: Final = 0.05
STEPS: Final = 20
GUIDANCE: Final = 4.5
SIZE: Final = 256
SUBJECTS: Final = ("red mug", "blue vase", "green chair", "yellow star", "pink lamp", "black hat")

Pixels = NDArray[np.uint8]
Result = TypeVar("Result")


class TimedModel(DiffusionModel):
    """Adds up the CPU time of encoding, stepping and decoding; the rest is the engine's loop."""

    inside_seconds = 0.0

    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        return self._timed(lambda: super(TimedModel, self).encode(prompt, max_sequence_length))

    def step(self, drawings: Sequence[Drawing]) -> list[torch.Tensor]:
        return self._timed(lambda: super(TimedModel, self).step(drawings))

    def decode(self, latents: torch.Tensor) -> Pixels:
        return self._timed(lambda: super(TimedModel, self).decode(latents))

    def _timed(self, call: Callable[[], Result]) -> Result:
        began = process_time()
        try:
            return call()
        finally:
            self.inside_seconds += process_time() - began


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One pair of measurements, in seconds, and how far the pictures are apart."""

    plain_seconds: float
    ours_seconds: float
    loop_share: float
    levels_apart: int

    @property
    def speed_up(self) -> float:
        return self.plain_seconds / self.ours_seconds


def main() -> None:
    """Measure and write the result down."""
    arguments = parse_arguments()
    silence_libraries()
    torch.set_num_threads(arguments.threads)
    pipeline: StableDiffusion3Pipeline = StableDiffusion3Pipeline.from_pretrained(CHECKPOINT)
    pipeline.set_progress_bar_config(disable=True)
    loaded = load_model(str(CHECKPOINT), device="cpu", dtype="float32", marks=NoMarks())
    model = TimedModel(loaded)
    engine = Engine(
        model=model,
        batch_slots=max(TARGETS),
        interactive_slots=1,
        marks=NoMarks(),
        threads=arguments.threads,
    )
    engine.start()
    rows = [compare(pipeline, engine, model, count, arguments.pairs) for count in TARGETS]
    engine.close()
    result = {
        "question": "Is our engine as quick as the plain diffusers pipeline on the CPU?",
        "command": "python benchmarks/engine_on_cpu.py",
        "machine": describe_machine(),
        "versions": {"torch": torch.__version__},
        "threads": arguments.threads,
        "size": SIZE,
        "num_inference_steps": STEPS,
        "loop_target": LOOP_TARGET,
        "rows": rows,
    }
    write_result(result, arguments.output)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS / "engine_on_cpu.json")
    return parser.parse_args()


def compare(
    pipeline: StableDiffusion3Pipeline, engine: Engine, model: TimedModel, count: int, pairs: int
) -> dict[str, object]:
    """Several pairs after one that warms both up."""
    turns = [take_turn(pipeline, engine, model, count, seed=100 * n) for n in range(pairs + 1)][1:]
    speed_up = statistics.median(turn.speed_up for turn in turns)
    loop_share = statistics.median(turn.loop_share for turn in turns)
    met = "met" if speed_up >= TARGETS[count] else "missed"
    print(
        f"{count} at once: {speed_up:.2f} times as quick (target {TARGETS[count]}: {met});"
        f" the loop takes {loop_share:.1%} on top; pictures at most"
        f" {max(turn.levels_apart for turn in turns)} of 255 apart",
        flush=True,
    )
    return {
        "images": count,
        "plain_seconds": [round(turn.plain_seconds, 3) for turn in turns],
        "ours_seconds": [round(turn.ours_seconds, 3) for turn in turns],
        "speed_up_median": round(speed_up, 3),
        "target": TARGETS[count],
        "loop_share_median": round(loop_share, 4),
        "levels_apart_max": max(turn.levels_apart for turn in turns),
    }


def take_turn(
    pipeline: StableDiffusion3Pipeline, engine: Engine, model: TimedModel, count: int, *, seed: int
) -> Turn:
    """The same pictures by both."""
    specs = [make_spec(seed + number) for number in range(count)]
    began = perf_counter()
    plain = draw_plainly(pipeline, specs)
    plain_seconds = perf_counter() - began
    model.forget_prompts()
    model.inside_seconds = 0.0
    began, cpu_began = perf_counter(), process_time()
    ours = draw_with_engine(engine, specs)
    ours_seconds, cpu_seconds = perf_counter() - began, process_time() - cpu_began
    apart = max(
        int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(plain, ours, strict=True)
    )
    return Turn(
        plain_seconds=plain_seconds,
        ours_seconds=ours_seconds,
        loop_share=(cpu_seconds - model.inside_seconds) / model.inside_seconds,
        levels_apart=apart,
    )


def make_spec(seed: int) -> ImageSpec:
    """Every one another prompt."""
    subject = SUBJECTS[seed % len(SUBJECTS)]
    return ImageSpec(
        prompt=f"a photo of a {subject} on a white background, picture {seed}",
        negative_prompt="",
        width=SIZE,
        height=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        seed=seed,
        max_sequence_length=77,
    )


def draw_plainly(pipeline: StableDiffusion3Pipeline, specs: Sequence[ImageSpec]) -> list[Pixels]:
    """All in one call."""
    output = pipeline(
        prompt=[spec.prompt for spec in specs],
        negative_prompt=[spec.negative_prompt for spec in specs],
        width=SIZE,
        height=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        max_sequence_length=specs[0].max_sequence_length,
        generator=[torch.Generator("cpu").manual_seed(spec.seed) for spec in specs],
    )
    assert isinstance(output, StableDiffusion3PipelineOutput)
    return [np.asarray(picture) for picture in output.images]


def draw_with_engine(engine: Engine, specs: Sequence[ImageSpec]) -> list[Pixels]:
    """All submitted at once."""
    futures: list[Future[Drawn]] = [
        engine.submit(
            AttemptKey(str(spec.seed), 1), spec, interactive=False, alone=False, progress=ignore
        )
        for spec in specs
    ]
    return [future.result().pixels for future in futures]


if __name__ == "__main__":
    main()
