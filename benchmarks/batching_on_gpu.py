"""What does sharing steps do to an image on a card, and how soon does one come in or go out?

    python benchmarks/batching_on_gpu.py --output benchmarks/results

With Large's architecture at 512² (random weights): four images of different steps, guidance and
seeds in one batch; each of them alone; how far their pixels differ. An interactive image that comes
in the middle of a batch of eight, and one that is cancelled there: after how many steps of the
batch they begin and end.
"""

# torch and diffusers are half untyped: as in services/engine, not strict.
# pyright: standard

import argparse
import json
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Final

import numpy as np
import torch

from benchmarks.engine_aids import NoMarks
from benchmarks.parts.card_bench import GivenEmbeddings, Shape, real_bench
from services.engine.devices import ArithmeticWish, choose_arithmetic, compute_capability
from services.engine.drawn import Drawn, Progress
from services.engine.engine import Engine
from services.engine.errors import ImageCancelledError
from services.engine.image_spec import AttemptKey, ImageSpec
from services.engine.random_weights import random_model

ROOT: Final = Path(__file__).parent.parent
SHAPE: Final = Shape(size=512, batch=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """One image drawn alone and among others; pixels are 0 to 255."""

    num_inference_steps: int
    guidance_scale: float
    batch_sizes: list[int]
    mean_difference: float
    largest_difference: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Promptness:
    """Steps of the batch between the wish and what came of it."""

    interactive_began_after_steps: int
    cancelled_after_steps: int


class Studio:
    """An engine, and a place to watch it from."""

    def __init__(self) -> None:
        self._bench = real_bench("large")
        arithmetic = choose_arithmetic(
            ArithmeticWish(), capability=compute_capability(self._bench.device)
        )
        model = random_model(
            "large",
            self._bench.configurations,
            device=self._bench.device,
            dtype=self._bench.dtype,
            arithmetic=arithmetic,
        )
        config = model.transformer.config
        given = {p: self._bench.embedding(config, seed) for seed, p in enumerate(("p", "n", ""))}
        self.engine = Engine(
            model=GivenEmbeddings(model, given),
            batch_slots=8,
            interactive_slots=1,
            marks=NoMarks(),
        )
        self.engine.start()

    def spec(self, seed: int, *, steps: int, guidance: float = 7.0) -> ImageSpec:
        return replace(self._bench.spec(SHAPE, seed, steps=steps), guidance_scale=guidance)

    def submit(
        self,
        name: str,
        spec: ImageSpec,
        *,
        interactive: bool = False,
        progress: Any = None,  # noqa: ANN401
    ) -> "Future[Drawn]":
        return self.engine.submit(
            AttemptKey(name, 1),
            spec,
            interactive=interactive,
            alone=False,
            progress=progress or (lambda _: None),
        )


def company(studio: Studio) -> list[Company]:
    """Different steps, guidance and seeds; alone, then together."""
    wishes = [(28, 7.0), (20, 4.5), (24, 2.0), (16, 9.0)]
    specs = [studio.spec(n, steps=s, guidance=g) for n, (s, g) in enumerate(wishes)]
    alone = [studio.submit(f"alone {n}", spec).result() for n, spec in enumerate(specs)]
    futures = [studio.submit(f"together {n}", spec) for n, spec in enumerate(specs)]
    together = [future.result() for future in futures]
    rows: list[Company] = []
    for (steps, guidance), one, other in zip(wishes, alone, together, strict=True):
        difference = np.abs(one.pixels.astype(int) - other.pixels.astype(int))
        rows.append(
            Company(
                num_inference_steps=steps,
                guidance_scale=guidance,
                batch_sizes=sorted(set(other.batch_sizes)),
                mean_difference=float(difference.mean()),
                largest_difference=int(difference.max()),
            )
        )
    return rows


def promptness(studio: Studio) -> Promptness:
    """A batch of eight in the middle of its drawing; steps are counted at its first image."""
    steps_done, middle = [0], Event()

    def count(progress: Progress) -> None:
        steps_done[0] = progress.step
        if progress.step == 8:  # noqa: PLR2004
            middle.set()

    batch = [studio.submit("batch 0", studio.spec(0, steps=28), progress=count)]
    batch += [studio.submit(f"batch {n}", studio.spec(n, steps=28)) for n in range(1, 8)]
    middle.wait(60.0)
    wished_at, began = steps_done[0], Event()
    urgent = studio.submit(
        "urgent", studio.spec(99, steps=4), interactive=True, progress=lambda _: began.set()
    )
    began.wait(60.0)
    interactive_after = steps_done[0] - wished_at
    urgent.result()
    cancelled_at = steps_done[0]
    studio.engine.cancel(AttemptKey("batch 7", 1))
    try:
        batch[7].result(60.0)
    except ImageCancelledError:
        cancelled_after = steps_done[0] - cancelled_at
    else:
        raise AssertionError("it was drawn although it was cancelled")
    for future in batch[:7]:
        future.result()
    return Promptness(
        interactive_began_after_steps=interactive_after, cancelled_after_steps=cancelled_after
    )


def main() -> None:
    """Both, and a result file."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    asked = parser.parse_args()
    studio = Studio()
    rows, prompt = company(studio), promptness(studio)
    studio.engine.close()
    for row in rows:
        print(row)
    print(prompt, flush=True)
    card = torch.cuda.get_device_name()
    result = {
        "device": card,
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python benchmarks/batching_on_gpu.py",
        "company": [asdict(row) for row in rows],
        "promptness": asdict(prompt),
    }
    asked.output.mkdir(parents=True, exist_ok=True)
    target = asked.output / f"batching_on_gpu_{card.replace(' ', '_').lower()}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
