"""Where does a drawing's CPU time go, operation by operation: in our engine, and in diffusers?

    python benchmarks/cpu_time_by_operation.py [--images 8] [--repeats 7]

The checkpoint that ships, float32, 256×256 with guidance. A step of all images together and the
decoding of one, by the engine's model and by the plain pipeline's parts, in turns. One thread and
CPU seconds, so that others at work on the machine disturb little; medians.
"""

# diffusers' pipeline has no types worth the name.
# pyright: standard

import argparse
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any, Final

import torch
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import (
    StableDiffusion3Pipeline,
)
from engine_aids import NoMarks
from engine_on_cpu import CHECKPOINT, RESULTS, make_spec
from machine import describe_machine, write_result
from torch.utils._python_dispatch import TorchDispatchMode

from services.engine.denoising import Drawing, step_inputs
from services.engine.drawing_model import DiffusionModel
from services.engine.library_noise import silence_libraries
from services.engine.loading import load_model

THREADS: Final = 1
# torch's operators by what they are; all others go element by element, or copy.
PARTS: Final = {
    "linear": "products with weights",
    "_linear_pointwise": "products with weights, GELU",
    "conv2d": "convolutions",
    "scaled_dot_product_attention": "attention",
    "gelu": "GELU",
    "layer_norm": "layer norms",
    "group_norm": "group norms",
}
REST: Final = "the rest"

Stage = Callable[[], object]


class OperationClock(TorchDispatchMode):
    """Adds up the CPU seconds of every operator called while it is entered, by part."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  torch's own signature
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        began = process_time()
        try:
            return func(*args, **(kwargs or {}))
        finally:
            name = func.overloadpacket.__name__
            self.seconds[PARTS.get(name, REST)] += process_time() - began  # pyright: ignore[reportArgumentType]


def main() -> None:
    """Measure and write the result down."""
    arguments = parse_arguments()
    silence_libraries()
    torch.set_num_threads(THREADS)
    with torch.inference_mode():
        rows = measure(arguments.images, arguments.repeats)
    result = {
        "question": "Where does a drawing's CPU time go, operation by operation?",
        "command": f"python benchmarks/cpu_time_by_operation.py --images {arguments.images}",
        "machine": describe_machine(),
        "versions": {"torch": torch.__version__},
        "threads": THREADS,
        "images": arguments.images,
        "cpu_milliseconds_per_image": rows,
    }
    write_result(result, arguments.output)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS / "cpu_time_by_operation.json")
    return parser.parse_args()


def measure(images: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds per image by stage and part."""
    model = DiffusionModel(
        load_model(str(CHECKPOINT), device="cpu", dtype="float32", marks=NoMarks())
    )
    pipeline = StableDiffusion3Pipeline.from_pretrained(CHECKPOINT)
    drawings = start_drawings(model, images)
    stages: dict[str, tuple[Stage, int]] = {
        "step, diffusers": (plain_step(pipeline, model, drawings), images),
        "step, ours": (lambda: model.step(drawings), images),
        "decoding, diffusers": (lambda: pipeline.vae.decode(drawings[0].latents[None]), 1),
        "decoding, ours": (lambda: model.decode(drawings[0].latents), 1),
    }
    rows = time_in_turns(stages, repeats)
    for name, parts in rows.items():
        print(f"{name}: {sum(parts.values()):.1f} ms", parts, flush=True)
    return rows


def start_drawings(model: DiffusionModel, images: int) -> list[Drawing]:
    """All before their first step."""
    nothing = model.encode("", 77)
    specs = [make_spec(number) for number in range(images)]
    return [
        model.start(spec, positive=model.encode(spec.prompt, 77), negative=nothing)
        for spec in specs
    ]


def plain_step(
    pipeline: StableDiffusion3Pipeline, model: DiffusionModel, drawings: Sequence[Drawing]
) -> Stage:
    """The pipeline's transformer on as many rows; guidance and Euler, thousandths, are left out."""
    copies = 2
    embedding = model.encode("", 77)
    rows = copies * len(drawings)
    inputs = {
        "hidden_states": step_inputs(drawings).latents.repeat(copies, 1, 1, 1),
        "timestep": torch.full((rows,), 900.0),
        "encoder_hidden_states": embedding.tokens.expand(rows, -1, -1),
        "pooled_projections": embedding.pooled.expand(rows, -1),
    }
    return lambda: pipeline.transformer(**inputs)


def time_in_turns(
    stages: Mapping[str, tuple[Stage, int]], repeats: int
) -> dict[str, dict[str, float]]:
    """Each stage once to warm up, then in turns."""
    taken: dict[str, list[Counter[str]]] = defaultdict(list)
    for _ in range(repeats + 1):
        for name, (stage, _images) in stages.items():
            with OperationClock() as clock:
                stage()
            taken[name].append(clock.seconds)
    return {name: medians(taken[name][1:], images) for name, (_, images) in stages.items()}


def medians(turns: Sequence[Counter[str]], images: int) -> dict[str, float]:
    """Milliseconds per image of each part, the dearest first."""
    typical = {
        part: statistics.median(turn[part] for turn in turns) * 1e3 / images for part in turns[0]
    }
    return {part: round(typical[part], 2) for part in sorted(typical, key=lambda p: -typical[p])}


if __name__ == "__main__":
    main()
