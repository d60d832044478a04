"""The engine alone, without a service around it: what the service's rate is held against."""

import time
from pathlib import Path
from typing import Any

from benchmarks.service.plan import BATCH_SLOTS, Plan
from benchmarks.service.timeline import Stretch, where_time_went
from services.engine.devices import choose_device
from services.engine.drawing_model import DiffusionModel
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey
from services.engine.image_spec import ImageSpec as EngineSpec
from services.engine.loading import load_model
from services.engine.marks import Mark, MarkKind


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
