"""Teaching the judge on the generator's own pictures, and what it is worth on others of them."""

from pathlib import Path
from random import Random
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, cross_entropy, grid_sample

from services.engine.training.budget import Budget
from services.engine.training.judge import (
    JUDGED_SIZE,
    NONE,
    Judge,
    Verdicts,
    join_verdicts,
    labels,
    share,
)
from services.engine.training.picture_set import PictureSet, make_pictures, to_unit
from services.engine.training.strange_shapes import STRANGE_SHAPES
from services.engine.training.training_state import Average, load_state, save_state
from services.engine.training.vocabulary import BACKGROUNDS, COLOURS, OBJECTS, Content, combinations

IGNORED: Final = -100
LEARNING_RATE: Final = 2e-3
REPORT_SECONDS: Final = 20.0
STRANGE_EACH: Final = 12
EXAM_PICTURES_MIN: Final = 64


def train_judge(
    *, count: int, batch: int, seconds: float, device: torch.device, work: Path, seed: int = 71
) -> tuple[Judge, dict[str, float]]:
    """A judge and its accuracy on clean pictures it never saw, strange ones among them."""
    subjects = judged_subjects(Random(seed))
    lesson = make_pictures(
        subjects, count=count, size=JUDGED_SIZE, seed=seed, device=device, work=work
    )
    exam_count = max(EXAM_PICTURES_MIN, count // 8)
    exam = make_pictures(
        subjects, count=exam_count, size=JUDGED_SIZE, seed=seed + 1, device=device, work=work
    )
    judge = Judge().to(device)
    teach(judge, lesson, batch=batch, seconds=seconds, work=work)
    result = examine(judge, exam)
    print(f"judge on {exam_count} clean pictures it never saw: {result}", flush=True)
    return judge, result | {"pictures": float(exam_count)}


def judged_subjects(random: Random) -> list[tuple[str, str, str]]:
    """Every combination of known things, and strange shapes in colours by chance."""
    known = [*combinations(held_out=False), *combinations(held_out=True)]
    strange = [
        (name, random.choice(list(COLOURS)), random.choice(list(BACKGROUNDS)))
        for name in STRANGE_SHAPES
        for _ in range(STRANGE_EACH)
    ]
    subjects = [*known, *strange]
    random.shuffle(subjects)
    return subjects


def teach(judge: Judge, lesson: PictureSet, *, batch: int, seconds: float, work: Path) -> None:
    """Train in place; the result is the average of the last updates."""
    optimizer = torch.optim.AdamW(judge.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    average = Average(judge, decay=0.99)
    budget = Budget(seconds=seconds)
    load_state(work / "judge", average, optimizer, budget)
    wanted = labels([c.combination for c in lesson.contents], device=lesson.pixels.device)
    while not budget.is_over:
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate(LEARNING_RATE, lowest=1e-5)
        loss = judging_loss(judge, lesson.pixels, wanted, batch=batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update()
        if budget.is_time_to_report(REPORT_SECONDS):
            print(f"judge {budget.spent:5.0f} s: loss {loss.item():.3f}", flush=True)
            save_state(work / "judge", average, optimizer, budget)
    save_state(work / "judge", average, optimizer, budget)
    average.swap()


def judging_loss(judge: Judge, pixels: Tensor, wanted: Tensor, *, batch: int) -> Tensor:
    """Cross entropy of the three answers, added up, over pictures chosen by chance."""
    chosen = torch.randint(len(pixels), (batch,), device=pixels.device)
    pictures, targets = disturb(to_unit(pixels[chosen]), wanted[chosen])
    with torch.autocast(pixels.device.type, torch.bfloat16):
        answers = judge(pictures)
    losses = [
        cross_entropy(scores.float(), targets[:, column], label_smoothing=0.02)
        for column, scores in enumerate(answers)
    ]
    return torch.stack(losses).sum()


def disturb(pictures: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """What a drawing model does to pictures (blur, noise, shifts); a few are torn to "none"."""
    count, device = len(pictures), pictures.device
    theta = torch.eye(2, 3, device=device).repeat(count, 1, 1)
    theta[:, :, :2] *= 0.85 + 0.3 * torch.rand(count, 1, 1, device=device)
    theta[:, :, 2] += 0.2 * (torch.rand(count, 2, device=device) - 0.5)
    grid = affine_grid(theta, list(pictures.shape), align_corners=False)
    pictures = grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    blurred = avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    mix = torch.rand(count, 1, 1, 1, device=device)
    pictures = pictures * mix + blurred * (1 - mix)
    pictures = pictures * (0.94 + 0.12 * torch.rand(count, 3, 1, 1, device=device))
    pictures = pictures + 0.08 * torch.rand(count, 1, 1, 1, device=device) * torch.randn_like(
        pictures
    )
    return tear(pictures, targets)


def tear(pictures: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Every tenth becomes a thing of two halves, or is scrambled: no object any more."""
    torn = torch.rand(len(pictures), device=pictures.device) < 0.1
    half = pictures.shape[-1] // 2
    rolled = pictures.roll(1, dims=0)
    pieces = pictures.clone()
    pieces[..., half:] = rolled[..., half:]
    scrambled = torch.cat([pictures[..., half:, :], pictures[..., :half, :]], dim=-2)
    is_half = (torch.rand(len(pictures), device=pictures.device) < 0.5).view(-1, 1, 1, 1)
    changed = torch.where(is_half, pieces, scrambled)
    pictures = torch.where(torn.view(-1, 1, 1, 1), changed, pictures)
    same = targets[:, 0] == targets.roll(1, dims=0)[:, 0]
    # Two halves of the same object may still be that object: nothing is learnt from those.
    none = torch.where(is_half.view(-1) & same, IGNORED, NONE)
    targets = targets.clone()
    targets[:, 0] = torch.where(torn, none, targets[:, 0])
    targets[:, 1:] = torch.where(torn[:, None], IGNORED, targets[:, 1:])
    return pictures, targets


@torch.no_grad()
def examine(judge: Judge, exam: PictureSet) -> dict[str, float]:
    """Accuracy on known objects, and how many strange ones it recognised as such."""
    known: list[Verdicts] = []
    strange: list[Tensor] = []
    for start in range(0, len(exam), 256):
        contents = exam.contents[start : start + 256]
        verdicts = judge.verdicts(
            to_unit(exam.pixels[start : start + 256]), [c.combination for c in contents]
        )
        is_known = torch.tensor([is_object(c) for c in contents], device=exam.pixels.device)
        strange.append(verdicts.object_[~is_known])
        known.append(
            Verdicts(
                object_=verdicts.object_[is_known],
                colour=verdicts.colour[is_known],
                background=verdicts.background[is_known],
            )
        )
    return join_verdicts(known).summary() | {"none of these": share(torch.cat(strange))}


def is_object(content: Content) -> bool:
    """Whether it is one of the objects that have a name."""
    return content.object_ in OBJECTS
