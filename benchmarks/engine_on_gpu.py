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
import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import (
    StableDiffusion3Pipeline,
)

from metering.energy_counter import EnergyCounter
from services.engine.denoising import next_latents
from services.engine.devices import ArithmeticWish, choose_arithmetic, compute_capability
from services.engine.drawing_model import DiffusionModel
from services.engine.drawn import Drawn
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey, ImageSpec
from services.engine.known_models import KNOWN_MODELS
from services.engine.loading import LoadedModel
from services.engine.marks import Mark, MarkKind
from services.engine.mmdit.arithmetic import Arithmetic
from services.engine.random_weights import (
    random_model,
    random_transformer,
    random_vae,
    scheduler,
)
from services.engine.text_encoding import CLIP_TOKENS, TextEmbedding
from services.engine.work_units import attention_work, linear_work

NAMES: Final = {
    "large": "stabilityai/stable-diffusion-3.5-large",
    "medium": "stabilityai/stable-diffusion-3.5-medium",
}
GIB: Final = 2**30
# Long enough that the counter's 100 ms refresh is a few percent at most.
MEASURED_SECONDS: Final = 2.0
# NVIDIA's data sheet for Hopper SXM, dense, FLOP/s.
FP8_PEAK: Final = 1979e12
BF16_PEAK: Final = 989e12
OURS: Final[Mapping[str, ArithmeticWish]] = {
    "none": ArithmeticWish(backend="none"),
    "scaled_mm": ArithmeticWish(backend="scaled_mm"),
    "scaled_mm, modulation offloaded": ArithmeticWish(backend="scaled_mm", modulation="offloaded"),
    "transformer_engine": ArithmeticWish(backend="transformer_engine"),
    "transformer_engine block": ArithmeticWish(backend="transformer_engine", fp8_recipe="block"),
    "weight_storage": ArithmeticWish(backend="weight_storage"),
}


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


class NoMarks:
    """Nobody meters a benchmark; the marks' synchronisations stay."""

    def begin(self, kind: MarkKind, start_nanos: int) -> None:
        pass

    def end(self, mark: Mark) -> None:
        pass


# ------------------------------------------------------------------------------- measuring


def read_at_refresh(counter: EnergyCounter) -> tuple[float, int]:
    """Seconds and millijoules at the moment the counter has just moved."""
    before = counter.read(time.monotonic_ns())
    while (now := counter.read(time.monotonic_ns())) == before:
        pass
    return time.perf_counter(), now


def measure(
    bench: Bench, draw: Callable[[], None], *, images: int
) -> tuple[float, float | None, int]:
    """Seconds and joules per image, and how many were drawn for it.

    The joules are those between two refreshes that enclose the drawing, scaled to its seconds.
    """
    begin = read_at_refresh(bench.counter) if bench.counter else None
    began, drawn = time.perf_counter(), 0
    while drawn == 0 or time.perf_counter() - began < bench.measured_seconds:
        draw()
        bench.finish()
        drawn += images
    seconds = time.perf_counter() - began
    if begin is None or bench.counter is None:
        return seconds / drawn, None, drawn
    # Back to back, so that hardly any idling lies between the drawing and the counter's edge.
    end = read_at_refresh(bench.counter)
    watts = (end[1] - begin[1]) / 1000.0 / (end[0] - begin[0])
    return seconds / drawn, watts * seconds / drawn, drawn


def memory(bench: Bench) -> tuple[float, float]:
    """GiB held at the moment, and the most since the last reset."""
    if bench.device.type != "cuda":
        return 0.0, 0.0
    return torch.cuda.memory_allocated() / GIB, torch.cuda.max_memory_allocated() / GIB


def forget(bench: Bench) -> None:
    """Start a candidate with empty hands."""
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def roofline_seconds(model: LoadedModel, spec: ImageSpec, *, fp8: bool) -> float:
    """The least one image's steps could take by the data sheet."""
    peak = FP8_PEAK if fp8 else BF16_PEAK
    step = linear_work(model, spec) / peak + attention_work(model, spec) / BF16_PEAK
    return spec.num_inference_steps * step * 1e9


# ------------------------------------------------------------------------------- diffusers


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


def make_pipeline(bench: Bench) -> Any:  # noqa: ANN401
    """Diffusers' own, without text encoders."""
    parts = bench.configurations
    transformer, vae = dict(parts["transformer"]), dict(parts["vae"])
    pipeline_class: Any = StableDiffusion3Pipeline
    pipeline = pipeline_class(
        transformer=random_transformer(transformer, device=bench.device, dtype=bench.dtype),
        vae=random_vae(vae, device=bench.device, dtype=bench.dtype),
        scheduler=scheduler(),
        **dict.fromkeys(
            (
                *("text_encoder", "text_encoder_2", "text_encoder_3"),
                *("tokenizer", "tokenizer_2", "tokenizer_3"),
            )
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def compile_blocks(pipeline: Any) -> None:  # noqa: ANN401
    """Anew for every shape, each with its own best kernels; otherwise they become dynamic."""
    torch.compiler.reset()
    for block in pipeline.transformer.transformer_blocks:
        block.compile()


def pipeline_prompts(bench: Bench, shape: Shape) -> dict[str, Any]:
    """The embeddings it takes instead of prompts."""
    positive = bench.embedding(bench.configurations["transformer"], 1)
    negative = bench.embedding(bench.configurations["transformer"], 2)
    return {
        "prompt_embeds": positive.tokens.expand(shape.batch, -1, -1),
        "pooled_prompt_embeds": positive.pooled.expand(shape.batch, -1),
        "negative_prompt_embeds": negative.tokens.expand(shape.batch, -1, -1),
        "negative_pooled_prompt_embeds": negative.pooled.expand(shape.batch, -1),
    }


def draw_by_pipeline(
    pipeline: Any,  # noqa: ANN401
    prompts: dict[str, Any],
    shape: Shape,
    *,
    steps: int,
) -> None:
    """A batch of pictures, as arrays."""
    pipeline(
        **prompts,
        height=shape.size,
        width=shape.size,
        num_inference_steps=steps,
        guidance_scale=7.0,
        output_type="np",
    )


# ------------------------------------------------------------------------------- ours


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


# ------------------------------------------------------------------------------- the run


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


def versions() -> dict[str, str]:
    """Of what decides the figures."""
    import diffusers  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    found = {
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "cuda": str(torch.version.cuda),
    }
    for package in ("transformer_engine", "flash-attn-4", "triton"):
        try:
            from importlib.metadata import version  # noqa: PLC0415

            found[package] = version(package)
        except ModuleNotFoundError:
            found[package] = "not installed"
    return found


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
        "command": f"python benchmarks/engine_on_gpu.py --model {bench.name}",
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
