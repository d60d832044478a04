"""How fast, how thrifty and how large is the engine on a GPU, beside plain diffusers?

    python benchmarks/engine_on_gpu.py --model large --output benchmarks/results
    python benchmarks/engine_on_gpu.py --rehearse          (the same on the CPU, tiny)

One run holds every candidate on the same card, with the same random weights and shapes, embeddings
given, guidance 7, the VAE included. Joules are the card's own counter, from edge to edge of its
refreshes. The roofline is the data sheet's: dense FP8 (or bf16) for the products with weights, bf16
for attention.
"""

# torch and diffusers are half untyped: as in services/engine, not strict.
# pyright: standard

import argparse
import json
import shlex
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.engine_aids import NoMarks
from benchmarks.parts.card_bench import NAMES, Bench, GivenEmbeddings, Shape, real_bench, rehearsal
from benchmarks.parts.card_versions import versions
from benchmarks.parts.measuring import forget, measure, memory, roofline_seconds
from benchmarks.parts.plain_diffusers import (
    compile_blocks,
    draw_by_pipeline,
    make_pipeline,
    pipeline_prompts,
)
from services.engine.denoising import next_latents
from services.engine.devices import ArithmeticWish, choose_arithmetic, compute_capability
from services.engine.drawn import Drawn
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey
from services.engine.loading import LoadedModel
from services.engine.mmdit.arithmetic import Arithmetic
from services.engine.random_weights import random_model

OURS: Final[Mapping[str, ArithmeticWish]] = {
    "none": ArithmeticWish(backend="none"),
    "scaled_mm": ArithmeticWish(backend="scaled_mm"),
    "scaled_mm, modulation offloaded": ArithmeticWish(backend="scaled_mm", modulation="offloaded"),
    "transformer_engine": ArithmeticWish(backend="transformer_engine"),
    "transformer_engine block": ArithmeticWish(backend="transformer_engine", fp8_recipe="block"),
    "weight_storage": ArithmeticWish(backend="weight_storage"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured candidate in one shape."""

    model: str
    width: int
    height: int
    batch: int
    backend: str
    seconds_per_image: float
    joules_per_image: float | None
    peak_gib: float
    resident_gib: float
    roofline_share: float
    bare_seconds_per_image: float | None
    """Of the forwards and the decoding alone, without the engine around them."""
    images_measured: int


def diffusers_rows(bench: Bench, roofline: Mapping[Shape, float]) -> Iterator[Row]:
    """The plain pipeline, eager and with its blocks compiled; Large is compiled per shape."""
    pipeline = make_pipeline(bench)
    for compiled in (False, True):
        label = "diffusers + compile" if compiled else "diffusers eager"
        for shape in bench.shapes:
            if compiled:
                compile_blocks(pipeline)
            forget(bench)
            resident, _ = memory(bench)
            prompts = pipeline_prompts(bench, shape)
            draw_by_pipeline(pipeline, prompts, shape, steps=2)

            def draw(prompts: dict[str, Any] = prompts, shape: Shape = shape) -> None:
                draw_by_pipeline(pipeline, prompts, shape, steps=bench.steps)

            seconds, joules, drawn = measure(bench, draw, images=shape.batch)
            yield Row(
                model=bench.name,
                width=shape.size,
                height=shape.size,
                batch=shape.batch,
                backend=f"{label} {bench.dtype}".replace("torch.", ""),
                seconds_per_image=seconds,
                joules_per_image=joules,
                peak_gib=memory(bench)[1],
                resident_gib=resident,
                roofline_share=roofline[shape] / seconds,
                bare_seconds_per_image=None,
                images_measured=drawn,
            )


def our_rows(bench: Bench, backend: str, arithmetic: Arithmetic) -> Iterator[Row]:
    """The engine as the worker runs it, its thread and marks included."""
    forget(bench)
    model = random_model(
        bench.name,
        bench.configurations,
        device=bench.device,
        dtype=bench.dtype,
        arithmetic=arithmetic,
    )
    forget(bench)
    resident, _ = memory(bench)
    config = model.transformer.config
    given = {
        "p": bench.embedding(config, 1),
        "n": bench.embedding(config, 2),
        "": bench.embedding(config, 3),
    }
    most = max(shape.batch for shape in bench.shapes)
    door = GivenEmbeddings(model, given)
    engine = Engine(model=door, batch_slots=most, interactive_slots=1, marks=NoMarks())
    engine.start()
    try:
        for shape in bench.shapes:
            yield our_row(
                bench, engine, model, door, shape=shape, backend=backend, resident=resident
            )
    finally:
        engine.close()


def our_row(
    bench: Bench,
    engine: Engine,
    model: LoadedModel,
    door: GivenEmbeddings,
    *,
    shape: Shape,
    backend: str,
    resident: float,
) -> Row:
    """One shape, after three warm steps: the first eager, the second captured."""
    draw_by_engine(engine, bench, shape, steps=3)
    forget(bench)
    seconds, joules, drawn = measure(
        bench, lambda: draw_by_engine(engine, bench, shape, steps=bench.steps), images=shape.batch
    )
    peak = memory(bench)[1]
    bare = bare_seconds(bench, model, door, shape)
    fp8 = backend.startswith(("scaled_mm", "transformer_engine"))
    return Row(
        model=bench.name,
        width=shape.size,
        height=shape.size,
        batch=shape.batch,
        backend=backend,
        seconds_per_image=seconds,
        joules_per_image=joules,
        peak_gib=peak,
        resident_gib=resident,
        roofline_share=roofline_seconds(model, bench.spec(shape, 0), fp8=fp8) / seconds,
        bare_seconds_per_image=bare,
        images_measured=drawn,
    )


def draw_by_engine(engine: Engine, bench: Bench, shape: Shape, *, steps: int) -> None:
    """A batch as a worker would submit it."""
    futures: list[Future[Drawn]] = [
        engine.submit(
            AttemptKey(f"{shape.size}-{number}", 1),
            bench.spec(shape, number, steps=steps),
            interactive=False,
            alone=False,
            progress=lambda _: None,
        )
        for number in range(shape.batch)
    ]
    for future in futures:
        future.result()


@torch.inference_mode()
def bare_seconds(bench: Bench, model: LoadedModel, door: GivenEmbeddings, shape: Shape) -> float:
    """What the forwards and decodings of one image take without the engine around them."""
    specs = [bench.spec(shape, number) for number in range(shape.batch)]
    drawings = [
        door.start(spec, positive=door.encode("p", 256), negative=door.encode("n", 256))
        for spec in specs
    ]
    latents = next_latents(model, drawings)
    bench.finish()
    began = time.perf_counter()
    for _ in range(bench.steps):
        latents = next_latents(model, drawings)
    for one in latents:
        door.decode(one)
    bench.finish()
    return (time.perf_counter() - began) / shape.batch


def run(bench: Bench, chosen: Mapping[str, Arithmetic], *, with_diffusers: bool) -> list[Row]:
    """Every candidate in every shape, printed as it comes."""
    rows: list[Row] = []

    def note(row: Row) -> None:
        rows.append(row)
        joules = "" if row.joules_per_image is None else f" {row.joules_per_image:7.0f} J"
        print(
            f"{row.model:7}{row.width:5}² b{row.batch}  {row.backend:32}"
            f" {row.seconds_per_image:7.3f} s{joules}  peak {row.peak_gib:5.1f} GiB"
            f"  {row.roofline_share:5.1%} of the roofline",
            flush=True,
        )

    for backend, arithmetic in chosen.items():
        for row in our_rows(bench, backend, arithmetic):
            note(row)
    if with_diffusers:
        forget(bench)
        for row in diffusers_rows(bench, rooflines(bench)):
            note(row)
    return rows


def rooflines(bench: Bench) -> dict[Shape, float]:
    """Of bf16, per shape; needs a model's numbers only."""
    model = random_model(
        bench.name,
        bench.configurations,
        device=torch.device("meta"),
        dtype=bench.dtype,
        arithmetic=Arithmetic(),
    )
    return {s: roofline_seconds(model, bench.spec(s, 0), fp8=False) for s in bench.shapes}


def choose(names: list[str], device: torch.device) -> dict[str, Arithmetic]:
    """What each name means on this device."""
    capability = compute_capability(device)
    return {name: choose_arithmetic(OURS[name], capability=capability) for name in names}


def command_of(asked: argparse.Namespace) -> str:
    """What was asked for, as it can be asked again; where it was written to is nobody's matter."""
    words = ["python", "benchmarks/engine_on_gpu.py", "--model", asked.model]
    if asked.backends:
        words += ["--backends", *asked.backends]
    if asked.without_diffusers:
        words.append("--without-diffusers")
    return shlex.join(words)


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--model", choices=NAMES, default="large")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--backends", nargs="*", choices=OURS, help="ours; all when left out")
    parser.add_argument("--without-diffusers", action="store_true")
    parser.add_argument("--output", type=Path, help="a folder for the result file")
    asked = parser.parse_args()
    bench = rehearsal() if asked.rehearse else real_bench(asked.model)
    on_cpu = ["none", "scaled_mm", "scaled_mm, modulation offloaded", "weight_storage"]
    names = asked.backends or (on_cpu if asked.rehearse else list(OURS))
    chosen = choose(names, bench.device)
    rows = run(bench, chosen, with_diffusers=not asked.without_diffusers)
    card = torch.cuda.get_device_name() if bench.device.type == "cuda" else "cpu"
    result = {
        "device": card,
        "date": datetime.now(UTC).date().isoformat(),
        "command": command_of(asked),
        "versions": versions(),
        "attention": {name: str(one.attention_kernel) for name, one in chosen.items()},
        "rows": [asdict(row) for row in rows],
    }
    if asked.output:
        asked.output.mkdir(parents=True, exist_ok=True)
        target = asked.output / f"engine_on_gpu_{bench.name}_{card.replace(' ', '_').lower()}.json"
        target.write_text(json.dumps(result, indent=1) + "\n")
        print(target)


if __name__ == "__main__":
    main()
