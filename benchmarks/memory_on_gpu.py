"""Does the memory plan hold on a card, and does a real want of memory lose an image?

    python benchmarks/memory_on_gpu.py --output benchmarks/results

Caps this process at 16 and at 24 GB (as the allocator counts; the driver's context is measured and
taken off), asks the plan for a batch of Large at 1024², draws it, and holds the measured peak
against the plan's estimate. Then it takes the memory away: a batch that no longer fits must be
halved, and every image must come. Weights are random, embeddings given, so no text encoders.
"""

# torch and diffusers are half untyped: as in services/engine, not strict.
# pyright: standard

import argparse
import gc
import json
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import torch

from benchmarks.engine_aids import NoMarks
from benchmarks.parts.card_bench import NAMES, GivenEmbeddings, Shape, real_bench
from services.engine.batch_limits import BatchLimits
from services.engine.devices import ArithmeticWish, choose_arithmetic, compute_capability
from services.engine.drawn import Drawn
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey
from services.engine.known_models import KNOWN_MODELS
from services.engine.memory_plan import (
    CONTEXT_BYTES,
    GB,
    MemoryPlan,
    PlanRequest,
    Residence,
    make_plan,
    native_key,
)
from services.engine.mmdit.arithmetic import ModulationPlace
from services.engine.model_outline import ModelOutline, outline
from services.engine.random_weights import random_model

ROOT: Final = Path(__file__).parent.parent
STEPS: Final = 4
STARVED_BATCH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A card to pretend, and how the model is kept on it."""

    memory_gb: int
    batch: int
    modulation: ModulationPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One profile as planned and as measured; decimal GB."""

    memory_gb: int
    batch: int
    modulation: str
    planned_batch_max: int
    estimate_gb: float
    peak_gb: float
    estimate_over_peak: float
    kept_free_gb: float
    images_drawn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantOfMemory:
    """What became of a batch for which there was no room."""

    images: int
    images_drawn: int
    out_of_memory_count: int
    smallest_batch: int
    free_gb_before: float


PROFILES: Final = (
    Profile(memory_gb=16, batch=2, modulation=ModulationPlace.OFFLOADED),
    Profile(memory_gb=24, batch=4, modulation=ModulationPlace.RESIDENT),
)


class Card:
    """The model on the GPU, as one profile keeps it."""

    def __init__(self, modulation: ModulationPlace) -> None:
        self.bench = real_bench("large")
        wish = ArithmeticWish(backend="scaled_mm", modulation=modulation)
        arithmetic = choose_arithmetic(wish, capability=compute_capability(self.bench.device))
        # A worker takes the weights from the disk layer by layer; random ones are made on the
        # device as a whole, so the cap comes after.
        model = random_model(
            "large",
            self.bench.configurations,
            device=self.bench.device,
            dtype=self.bench.dtype,
            arithmetic=arithmetic,
        )
        config = model.transformer.config
        given = {p: self.bench.embedding(config, seed) for seed, p in enumerate(("p", "n", ""))}
        self.door = GivenEmbeddings(model, given)
        gc.collect()
        torch.cuda.empty_cache()

    def draw(self, batch: int, limits: BatchLimits) -> tuple[list[Drawn], Engine]:
        """A batch through an engine of its own; raises what an image failed of."""
        engine = Engine(
            model=self.door,
            batch_slots=batch,
            interactive_slots=1,
            marks=NoMarks(),
            limits=limits,
        )
        engine.start()
        try:
            shape = Shape(size=1024, batch=batch)
            futures: list[Future[Drawn]] = [
                engine.submit(
                    AttemptKey(str(number), 1),
                    self.bench.spec(shape, number, steps=STEPS),
                    interactive=False,
                    alone=False,
                    progress=lambda _: None,
                )
                for number in range(batch)
            ]
            return [future.result() for future in futures], engine
        finally:
            engine.close()


def plan_for(profile: Profile, usable_bytes: int) -> MemoryPlan:
    """The plan of a worker on such a card, without text encoders."""
    large = outline("large", KNOWN_MODELS[NAMES["large"]])
    without_text: ModelOutline = replace(
        large, encoder_parameters=0, encoder_layer_parameters_max=0
    )
    return make_plan(
        PlanRequest(
            outline=without_text,
            free_bytes=usable_bytes,
            backend="scaled_mm",
            text_encoders=Residence.RESIDENT,
            modulation=Residence(profile.modulation.value),
            images_wished=profile.batch,
        )
    )


def context_bytes() -> int:
    """What the driver holds beside the allocator."""
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved()


def measure(profile: Profile) -> Row:
    """Draw the profile's batch under its cap."""
    usable_bytes = profile.memory_gb * GB - CONTEXT_BYTES
    plan = plan_for(profile, usable_bytes)
    key = native_key(plan.request.outline)
    card = Card(profile.modulation)
    total = torch.cuda.get_device_properties(0).total_memory
    reserve = plan.request.reserve_bytes
    # The reserve is kept out of reach: if the plan is wrong, the drawing fails.
    torch.cuda.set_per_process_memory_fraction((usable_bytes - reserve) / total)
    torch.cuda.reset_peak_memory_stats()
    drawn, _ = card.draw(profile.batch, BatchLimits(plan))
    peak = torch.cuda.max_memory_reserved()
    torch.cuda.set_per_process_memory_fraction(1.0)
    estimate = plan.peak_bytes(key, images=profile.batch)
    return Row(
        memory_gb=profile.memory_gb,
        batch=profile.batch,
        modulation=profile.modulation,
        planned_batch_max=plan.images_max(key),
        estimate_gb=estimate / GB,
        peak_gb=peak / GB,
        estimate_over_peak=estimate / peak,
        kept_free_gb=(usable_bytes - peak) / GB,
        images_drawn=sum(max(one.batch_sizes) == profile.batch for one in drawn),
    )


def starve() -> WantOfMemory:
    """Leave room for one picture's decoding and a few images' steps, and no plan that knows."""
    card = Card(ModulationPlace.RESIDENT)
    card.draw(1, BatchLimits())
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    cap = torch.cuda.memory_allocated() + round(3.2 * GB)
    torch.cuda.set_per_process_memory_fraction(cap / total)
    free = (cap - torch.cuda.memory_allocated()) / GB
    limits = BatchLimits()
    drawn, engine = card.draw(STARVED_BATCH, limits)
    torch.cuda.set_per_process_memory_fraction(1.0)
    return WantOfMemory(
        images=STARVED_BATCH,
        images_drawn=len(drawn),
        out_of_memory_count=engine.out_of_memory_count,
        smallest_batch=min(min(one.batch_sizes) for one in drawn),
        free_gb_before=free,
    )


def main() -> None:
    """Both questions, and a result file."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    asked = parser.parse_args()
    torch.zeros(1, device="cuda")
    context = context_bytes()
    rows: list[Row] = []
    for profile in PROFILES:
        row = measure(profile)
        rows.append(row)
        print(row, flush=True)
        gc.collect()
        torch.cuda.empty_cache()
    want = starve()
    print(want)
    card = torch.cuda.get_device_name()
    result = {
        "device": card,
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python benchmarks/memory_on_gpu.py",
        "context_gb": context / GB,
        "profiles": [asdict(row) for row in rows],
        "want_of_memory": asdict(want),
    }
    asked.output.mkdir(parents=True, exist_ok=True)
    target = asked.output / f"memory_on_gpu_{card.replace(' ', '_').lower()}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
