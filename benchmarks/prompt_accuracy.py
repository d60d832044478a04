"""Do the pictures of the checkpoint that ships show what their prompts say?

    python benchmarks/prompt_accuracy.py [--model FOLDER] [--exams 1] [--sheet SHEET.webp]

Draws every combination of object, colour and background that was held out of the training, through
our engine on the CPU, and lets the judge look: a network trained on other renders of the generator,
which can also say "none of these". Its own accuracy, on renders it never saw, stands in its file
and in the result. `--sheet` also writes forty of the pictures on one sheet.
"""

# torch's tensors are half-typed.
# pyright: standard

import argparse
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np
import torch
from engine_aids import NoMarks, ignore
from machine import describe_machine, write_result
from numpy.typing import NDArray

from services.engine.devices import ArithmeticWish, choose_device
from services.engine.drawing_model import DiffusionModel
from services.engine.drawn import Drawn
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey, ImageSpec
from services.engine.loading import load_model
from services.engine.training.contact_sheet import save_sheet
from services.engine.training.judge import Verdicts, judge_accuracy, load_judge
from services.engine.training.vocabulary import combinations, plain_prompt

ROOT: Final = Path(__file__).resolve().parents[1]
JUDGE: Final = ROOT / "benchmarks" / "judge" / "judge.safetensors"
RESULTS: Final = ROOT / "benchmarks" / "results"
TARGET: Final = 0.95
STEPS: Final = 20
GUIDANCE: Final = 4.5
SIZE: Final = 256
BATCH_SLOTS: Final = 8
SHEET_COLUMNS: Final = 8
SHEET_PICTURES: Final = 40

Subject = tuple[str, str, str]


def main() -> None:
    """Draw, judge, and write the result down."""
    arguments = parse_arguments()
    subjects = combinations(held_out=True) * arguments.exams
    began_seconds = monotonic()
    pictures = draw(arguments.model, subjects, backend=arguments.backend, threads=arguments.threads)
    draw_seconds = monotonic() - began_seconds
    if arguments.sheet is not None:
        chosen = pictures[:: len(pictures) // SHEET_PICTURES][:SHEET_PICTURES]
        save_sheet(chosen, columns=SHEET_COLUMNS, path=arguments.sheet)
    verdicts = judge(pictures, subjects)
    report(verdicts, subjects, draw_seconds=draw_seconds, path=arguments.output)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default=str(ROOT / "deploy" / "models" / "atelier-mini"))
    parser.add_argument("--exams", type=int, default=1, help="pictures of each combination")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", default="none", help="scaled_mm or weight_storage: in FP8")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--output", type=Path, default=RESULTS / "prompt_accuracy.json")
    return parser.parse_args()


def draw(
    model: str, subjects: Sequence[Subject], *, backend: str, threads: int
) -> NDArray[np.uint8]:
    """[N, height, width, 3], each with a seed of its own."""
    torch.set_num_threads(threads)
    chosen = choose_device("cpu", ArithmeticWish(backend=backend))
    loaded = load_model(
        model,
        device=chosen.device,
        dtype=chosen.dtype,
        marks=NoMarks(),
        arithmetic=chosen.arithmetic,
    )
    engine = Engine(
        model=DiffusionModel(loaded),
        batch_slots=BATCH_SLOTS,
        interactive_slots=1,
        marks=NoMarks(),
        threads=threads,
    )
    engine.start()
    futures = [submit(engine, number, subject) for number, subject in enumerate(subjects)]
    pictures: list[NDArray[np.uint8]] = []
    for number, future in enumerate(futures, start=1):
        pictures.append(future.result().pixels)
        if number % BATCH_SLOTS == 0:
            print(f"{number} of {len(futures)} pictures", flush=True)
    engine.close()
    return np.stack(pictures)


def submit(engine: Engine, number: int, subject: Subject) -> Future[Drawn]:
    """One picture of the subject."""
    spec = ImageSpec(
        prompt=plain_prompt(subject),
        negative_prompt="",
        width=SIZE,
        height=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        seed=1000 + number,
        max_sequence_length=77,
    )
    key = AttemptKey(str(number), 1)
    return engine.submit(key, spec, interactive=False, alone=False, progress=ignore)


def judge(pictures: NDArray[np.uint8], subjects: Sequence[Subject]) -> Verdicts:
    """What the judge says of each."""
    unit = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return load_judge(JUDGE, device=torch.device("cpu")).verdicts(unit, subjects)


def report(
    verdicts: Verdicts, subjects: Sequence[Subject], *, draw_seconds: float, path: Path
) -> None:
    """On the screen and in a file."""
    accuracy = verdicts.summary()
    right = verdicts.everything.tolist()
    wrong = [" ".join(s) for s, is_right in zip(subjects, right, strict=True) if not is_right]
    for name in ("object", "colour", "background"):
        met = "met" if accuracy[name] >= TARGET else "missed"
        print(f"{name:<11}{accuracy[name]:.1%} of {len(subjects)} (target {TARGET:.0%}: {met})")
    print(f"all three  {accuracy['all']:.1%}; wrong: {', '.join(wrong) or 'none'}")
    result = {
        "question": "Do the pictures of the checkpoint that ships show what their prompts say?",
        "command": "python benchmarks/prompt_accuracy.py",
        "machine": describe_machine(),
        "pictures": len(subjects),
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "seconds_per_picture": round(draw_seconds / len(subjects), 2),
        "target": TARGET,
        "accuracy": accuracy,
        "wrong": wrong,
        "judge_on_pictures_it_never_saw": judge_accuracy(JUDGE),
    }
    write_result(result, path)


if __name__ == "__main__":
    main()
