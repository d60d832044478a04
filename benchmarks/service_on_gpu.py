"""The whole service on one card: handover, receipts, invoices, pace and a worker's sudden death.

    python benchmarks/service_on_gpu.py [--output DIRECTORY] [--only PART ...]
    python benchmarks/service_on_gpu.py --rehearse

Starts an installation of its own (`make up`'s processes) on this machine's NVIDIA card, with two
studios and two models: random weights in the layout of Stable Diffusion 3.5 Large, and the
checkpoint that ships. Every part writes its result before the next begins:

    handover  both studios order 8 images of Large at once: one card, so the fleet hands it over
    cards     with several cards: 24 images of each studio at once, and on whose card they were
    steady    one studio's 24 images of Large, unpaced, for the rate; where its seconds went
    many      100 images of the checkpoint that ships, ordered and fetched by the command line
    pace      two minutes at a duty cycle of at most 0.9, with what the sensors say each second
    kill      SIGKILL for the worker in the middle of an image
    bill      receipts against draft invoices, joules against the card's own counter
    alone     those 24 once more by the engine alone, when the service has ended

--rehearse runs the same on the processor with a tiny model; its figures say nothing of a card.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from machine import describe_machine, write_result
from service_on_cpu import beside

from atelier.v1.image_pb2 import ImageSpec
from benchmarks.parts.service_bench import (
    Bench,
    SensorWatch,
    overlapping,
    receipts_of,
    seconds_between,
    step_rates,
    summary,
)
from benchmarks.parts.timeline import Stretch, where_time_went
from metering import nvml
from services.engine.devices import choose_device
from services.engine.drawing_model import DiffusionModel
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey
from services.engine.image_spec import ImageSpec as EngineSpec
from services.engine.loading import load_model
from services.engine.marks import Mark, MarkKind
from services.engine.random_checkpoint import SMALLEST_SHAPE, WORDS
from services.engine.small_model import SmallModelShape, build_small_model, save_small_model
from services.standalone.installation import running_installation
from services.standalone.settings import Settings
from services.standalone.terminal import Terminal

ROOT: Final = Path(__file__).resolve().parents[1]
SHIPPED: Final = ROOT / "deploy" / "models" / "atelier-mini"
PARTS: Final = ("handover", "cards", "steady", "many", "pace", "kill", "bill", "alone")
# The transformer and the VAE are Large's; the text encoders have its widths and two layers.
LARGE_SHAPE: Final = SmallModelShape(
    layers=38,
    heads=38,
    clip_l_width=768,
    clip_g_width=1280,
    t5_width=4096,
    vae_channels=(128, 256, 512, 512),
    vae_layers_per_block=2,
    vae_norm_groups=32,
    default_size=1024,
    size_max=1536,
    timestep_shift=3.0,
)
BATCH_SLOTS: Final = 4
# The fleet's default, and no pace at all while the card stays cool.
USUAL_PACE: Final = 0.9
UNPACED: Final = 1.0
CATALOGUE: Final = """\
[{name}]
display_name = "{name}"
source = "{source}"
precision = "fp8"
width = {{ min = 64, max = 1024, default = {size} }}
height = {{ min = 64, max = 1024, default = {size} }}
pixels_max = 1048576
num_inference_steps = {{ min = 1, max = 50, default = {steps} }}
guidance_scale = {{ min = 0.0, max = 15.0, default = 7.0 }}
max_sequence_length = {{ min = 16, max = 256, default = 77 }}
batch_slots = {slots}
interactive_slots = 1

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything."""

    shape: SmallModelShape
    size: int
    steps: int
    large_images: int
    steady_images: int
    small_images: int
    # So many that progress is told before the last is drawn.
    killed_images: int
    pace_seconds: float
    pace_window_seconds: float
    use_gpus: bool

    @property
    def large(self) -> ImageSpec:
        return self._spec("large", size=self.size, steps=self.steps)

    @property
    def long(self) -> ImageSpec:
        """So long that it is met in the middle."""
        return self._spec("large", size=self.size if self.use_gpus else 256, steps=50)

    @property
    def small(self) -> ImageSpec:
        return self._spec("small", size=256 if self.use_gpus else 64, steps=20)

    def _spec(self, model: str, *, size: int, steps: int) -> ImageSpec:
        return ImageSpec(
            model=f"models/{model}",
            prompt="a photo of a red mug on a white background",
            width=size,
            height=size,
            num_inference_steps=steps,
        )


ON_CARD: Final = Plan(
    shape=LARGE_SHAPE,
    size=1024,
    steps=28,
    large_images=8,
    steady_images=24,
    small_images=100,
    killed_images=1,
    pace_seconds=120.0,
    pace_window_seconds=5.0,
    use_gpus=True,
)
REHEARSAL: Final = Plan(
    shape=SMALLEST_SHAPE,
    size=64,
    steps=8,
    large_images=8,
    steady_images=12,
    small_images=10,
    killed_images=40,
    pace_seconds=12.0,
    pace_window_seconds=2.0,
    use_gpus=False,
)


class Report:
    """Results so far; each part is on disk before the next begins."""

    def __init__(self, path: Path, *, card: str, parts: Sequence[str]) -> None:
        self._path = path
        self.result: dict[str, Any] = {
            "question": "How does the whole service do on one card?",
            "command": f"python benchmarks/service_on_gpu.py --only {' '.join(parts)}",
            "card": card,
            "torch": torch.__version__,
            "machine": describe_machine(),
        }

    def add(self, part: str, found: object) -> None:
        self.result[part] = found
        print(json.dumps({part: found}, indent=1), flush=True)
        write_result(self.result, self._path)


def main() -> None:
    """Measure part by part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rehearse", action="store_true", help="on the processor, tiny")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    plan = REHEARSAL if arguments.rehearse else ON_CARD
    counters = [] if arguments.rehearse else nvml.open_counters()
    if plan.use_gpus and not counters:
        parser.error("there is no NVIDIA driver here; --rehearse runs on the processor")
    prefix = "rehearsed_" if arguments.rehearse else ""
    card = counters[0].facts.display_name if counters else "none: a rehearsal on the processor"
    report = Report(
        arguments.output / f"{prefix}service_on_gpu.json", card=card, parts=arguments.only
    )
    with tempfile.TemporaryDirectory(prefix="atelier-card-", ignore_cleanup_errors=True) as folder:
        # PostgreSQL may run as another user.
        Path(folder).chmod(0o755)
        run(plan, Path(folder), report, parts=arguments.only)


def run(plan: Plan, folder: Path, report: Report, *, parts: tuple[str, ...]) -> None:
    """Make the models, then the service's parts, then the engine alone."""
    report.add("making_the_model_seconds", make_large(plan, folder / "large"))
    settings = make_settings(plan, folder)
    with running_installation(settings, Terminal(quiet=True)) as running:
        beside(running, lambda: _in_service(Bench(running), plan, folder, report, parts))
    if "alone" in parts:
        report.add("alone", alone(plan, folder / "large", report.result.get("steady")))


def _in_service(
    bench: Bench, plan: Plan, folder: Path, report: Report, parts: tuple[str, ...]
) -> list[Any]:
    steps: dict[str, Callable[[], object]] = {
        "handover": lambda: handover(bench, plan),
        "cards": lambda: cards(bench, plan),
        "steady": lambda: steady(bench, plan),
        "many": lambda: many(bench, plan, folder),
        "pace": lambda: pace(bench, plan),
        "kill": lambda: kill(bench, plan),
        "bill": lambda: bill(bench),
    }
    for part, step in steps.items():
        if part in parts:
            report.add(part, step())
    return []


def make_large(plan: Plan, folder: Path) -> float:
    """Random weights, made on the card where there is one and kept as bfloat16."""
    began = time.monotonic()
    device = "cuda" if plan.use_gpus else "cpu"
    dtype = torch.get_default_dtype()
    torch.manual_seed(35)  # pyright: ignore[reportUnknownMemberType]
    torch.set_default_dtype(torch.bfloat16 if plan.use_gpus else dtype)
    try:
        with torch.device(device):
            pipeline = build_small_model(plan.shape, words=WORDS)
    finally:
        torch.set_default_dtype(dtype)
    save_small_model(pipeline, folder)
    folder.chmod(0o755)
    del pipeline
    if plan.use_gpus:
        torch.cuda.empty_cache()
    return round(time.monotonic() - began, 1)


def make_settings(plan: Plan, folder: Path) -> Settings:
    """One device, both models, short turns, so that the card changes hands within minutes."""
    entry = {"size": plan.size, "steps": plan.steps, "slots": BATCH_SLOTS}
    (folder / "models.toml").write_text(
        CATALOGUE.format(name="large", source=folder / "large", **entry)
        + CATALOGUE.format(name="small", source=SHIPPED, **entry)
    )
    return Settings(
        data_directory=folder / "data",
        port=0,
        model_catalogue_path=folder / "models.toml",
        cpu_device_count=1,
        use_gpus=plan.use_gpus,
        dwell_seconds_min=1.0,
        dwell_per_cold_start=0.1,
    )


def handover(bench: Bench, plan: Plan) -> dict[str, Any]:
    """Both studios at once; the card is one."""
    jobs = {tenant: bench.order(tenant, plan.large, plan.large_images) for tenant in bench.keys}
    found: dict[str, Any] = {}
    for tenant, job in jobs.items():
        images = bench.finish(tenant, job)
        seconds = seconds_between(images)
        found[tenant] = {
            **receipts_of(images),
            "seconds": round(seconds, 2),
            "seconds_per_image": round(seconds / len(images), 3),
        }
    return {**found, "handovers": bench.handovers()}


def cards(bench: Bench, plan: Plan) -> dict[str, Any]:
    """Several cards: on which was each studio's image drawn, and was a card ever two studios'?"""
    jobs = {tenant: bench.order(tenant, plan.large, plan.steady_images) for tenant in bench.keys}
    stays: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for tenant, job in jobs.items():
        images = bench.finish(tenant, job)
        found[tenant] = {**receipts_of(images), "seconds": round(seconds_between(images), 2)}
        stays += bench.stays(tenant, images)
    return {
        **found,
        "stays": stays,
        "cards_shared_at_once": overlapping(stays),
        "handovers": bench.handovers(),
    }


def steady(bench: Bench, plan: Plan) -> dict[str, Any]:
    """From the first image's start to the last one's end, pictures encoded, stored and charged.

    Unpaced: the operator allows the whole time, where 0.9 of it is the default.
    """
    bench.allow(UNPACED)
    images = bench.finish("acme", bench.order("acme", plan.large, plan.steady_images))
    bench.allow(USUAL_PACE)
    seconds = seconds_between(images)
    return {
        "duty_cycle_max": UNPACED,
        **receipts_of(images),
        "seconds_per_image": round(seconds / len(images), 3),
        "timeline": bench.timeline(images),
    }


def many(bench: Bench, plan: Plan, folder: Path) -> dict[str, Any]:
    """Many small pictures through the command line, files on disk included."""
    seconds = bench.order_by_command("acme", plan.small, plan.small_images, folder)
    with bench.studio("acme") as studio:
        images = list(studio.list_images(next(iter(studio.list_jobs())).name))
    files = len(list((folder / "pictures").glob("*.png")))
    return {**receipts_of(images), "files": files, "seconds": round(seconds, 1)}


def pace(bench: Bench, plan: Plan) -> dict[str, Any]:
    """Constant load under a policy: does the duty cycle hold, are steps regular?"""
    bench.allow(USUAL_PACE)
    job = bench.order("acme", plan.large, 1000)
    with bench.studio("acme") as studio:
        news = studio.watch_job(job.name)
        next(one for one in news if one.HasField("progress") and one.progress.step > 0)
    with SensorWatch(bench) as sensors:
        start_time = time.time()
        rates = step_rates(
            bench,
            "acme",
            job,
            seconds=plan.pace_seconds,
            window_seconds=plan.pace_window_seconds,
        )
        end_time = time.time()
    with bench.studio("acme") as studio:
        studio.cancel_job(job.name)
        studio.wait_for_job(job.name)
    return {
        "duty_cycle_max": USUAL_PACE,
        # The meter books a stretch when the counter has moved past it.
        "duty_cycle_measured": round(bench.worked_share(start_time, end_time), 4),
        "seconds": round(end_time - start_time, 1),
        "steps": summary(rates),
        "steps_per_second_by_window": rates,
        "sensors": sensors.rows,
    }


def kill(bench: Bench, plan: Plan) -> dict[str, Any]:
    """The worker dies in the middle of an image: drawn again, charged once, its joules shown."""
    before = bench.reconciliation()
    job = bench.order("zeta", plan.long, plan.killed_images)
    with bench.studio("zeta") as studio:
        news = studio.watch_job(job.name)
        next(one for one in news if one.HasField("progress") and one.progress.step > 0)
    used_before = bench.gpu().sample.memory_used_bytes
    process_id = bench.kill_worker()
    lowest = used_before
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        lowest = min(lowest, bench.gpu().sample.memory_used_bytes)
        time.sleep(0.2)
    images = bench.finish("zeta", job)
    overhead = [
        sum(hour["overhead_millijoules"] for hour in hours)
        for hours in (before, bench.reconciliation())
    ]
    return {
        "killed_process": process_id,
        "memory_used_gib": [round(used / 2**30, 2) for used in (used_before, lowest)],
        **receipts_of(images),
        "overhead_joules_added": round((overhead[1] - overhead[0]) / 1000, 1),
    }


def bill(bench: Bench) -> dict[str, Any]:
    """Do the invoices and the joules add up?"""
    # Hours are stored every ten seconds.
    time.sleep(12)
    return {
        "invoices": {tenant: bench.bill(tenant) for tenant in bench.keys},
        "reconciliation": bench.reconciliation(),
    }


class _KeptMarks:
    """Nobody meters the engine alone; its marks say where its time went."""

    def __init__(self) -> None:
        self.stretches: list[Stretch] = []

    def begin(self, kind: MarkKind, start_nanos: int) -> None: ...

    def end(self, mark: Mark) -> None:
        self.stretches.append(
            Stretch(
                start_seconds=mark.start_nanos / 1e9,
                end_seconds=mark.end_nanos / 1e9,
                image_count=len(mark.work),
            )
        )


def alone(plan: Plan, model: Path, in_service: dict[str, Any] | None) -> dict[str, Any]:
    """The same images by the engine in this process; the service's rate against it."""
    device = choose_device("auto")
    marks = _KeptMarks()
    loaded = load_model(
        str(model),
        device=device.device,
        dtype=device.dtype,
        marks=marks,
        arithmetic=device.arithmetic,
    )
    engine = Engine(
        model=DiffusionModel(loaded),
        batch_slots=BATCH_SLOTS,
        interactive_slots=1,
        marks=marks,
    )
    engine.start()
    _draw(engine, plan, BATCH_SLOTS, first=1000)
    began = time.monotonic()
    seconds = _draw(engine, plan, plan.steady_images, first=0)
    engine.close()
    found: dict[str, Any] = {
        "precision": device.precision,
        "seconds_per_image": round(seconds / plan.steady_images, 3),
        "timeline": where_time_went(
            marks.stretches, start_seconds=began, end_seconds=began + seconds
        ),
    }
    if in_service is not None:
        served = in_service["seconds_per_image"]
        found["service_over_alone"] = round(found["seconds_per_image"] / served, 4)
    return found


def _draw(engine: Engine, plan: Plan, count: int, *, first: int) -> float:
    wish = plan.large
    spec = EngineSpec(
        prompt=wish.prompt,
        negative_prompt="",
        width=wish.width,
        height=wish.height,
        num_inference_steps=wish.num_inference_steps,
        guidance_scale=7.0,
        seed=35,
        max_sequence_length=77,
    )
    began = time.monotonic()
    futures = [
        engine.submit(
            AttemptKey(f"image{first + number}", 1),
            spec,
            interactive=False,
            alone=False,
            progress=lambda _progress: None,
        )
        for number in range(count)
    ]
    for future in futures:
        future.result()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
