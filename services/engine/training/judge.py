"""The judge: a small network that says what a picture shows, or that it is none of the objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    cross_entropy,
    grid_sample,
    interpolate,
)

from services.engine.training.budget import Budget
from services.engine.training.picture_set import PictureSet, make_pictures, to_unit
from services.engine.training.strange_shapes import STRANGE_SHAPES
from services.engine.training.vocabulary import BACKGROUNDS, COLOURS, OBJECTS, Content, combinations

JUDGED_SIZE: Final = 128
NONE: Final = len(OBJECTS)
IGNORED: Final = -100
LEARNING_RATE: Final = 2e-3
REPORT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Of several pictures: which of the three are right."""

    object_: Tensor
    colour: Tensor
    background: Tensor

    @property
    def everything(self) -> Tensor:
        return self.object_ & self.colour & self.background

    def summary(self) -> dict[str, float]:
        """Shares of right ones."""
        return {
            "object": share(self.object_),
            "colour": share(self.colour),
            "background": share(self.background),
            "all": share(self.everything),
        }


def share(right: Tensor) -> float:
    """Rounded to a tenth of a percent."""
    return round(float(right.float().mean()), 3)


class Judge(nn.Module):
    """[N, 3, 128, 128] from -1 to 1 → scores of object (the last is "none"), colour, background."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 48, 96, 128, 128)
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GroupNorm(8, wide)]
            layers += [nn.SiLU(), nn.Conv2d(wide, wide, 3, padding=1), nn.GroupNorm(8, wide)]
            layers += [nn.SiLU()]
        self.features = nn.Sequential(*layers)
        # Where things are matters little for what they are: the mean and the strongest of each.
        self.object_ = nn.Linear(2 * widths[-1], len(OBJECTS) + 1)
        self.colour = nn.Linear(2 * widths[-1], len(COLOURS))
        self.background = nn.Linear(2 * widths[-1], len(BACKGROUNDS))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.features(picture)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=-1).float()
        return self.object_(pooled), self.colour(pooled), self.background(pooled)

    @torch.no_grad()
    def verdicts(self, pictures: Tensor, contents: Sequence[tuple[str, str, str]]) -> Verdicts:
        """Pictures from -1 to 1 of any size against what they should show."""
        small = shrink(pictures)
        object_, colour, background = (scores.argmax(-1) for scores in self(small))
        wanted = labels(contents, device=pictures.device)
        return Verdicts(
            object_=object_ == wanted[:, 0],
            colour=colour == wanted[:, 1],
            background=background == wanted[:, 2],
        )


def shrink(pictures: Tensor) -> Tensor:
    """To the size the judge looks at."""
    if pictures.shape[-1] == JUDGED_SIZE:
        return pictures
    if pictures.shape[-1] == 2 * JUDGED_SIZE:
        return avg_pool2d(pictures, 2)
    return interpolate(pictures, size=(JUDGED_SIZE, JUDGED_SIZE), mode="bilinear", antialias=True)


def labels(contents: Sequence[tuple[str, str, str]], *, device: torch.device) -> Tensor:
    """[N, 3] indices of object, colour and background."""
    objects, colours, backgrounds = list(OBJECTS), list(COLOURS), list(BACKGROUNDS)
    rows = [
        (
            objects.index(object_) if object_ in objects else NONE,
            colours.index(colour),
            backgrounds.index(background),
        )
        for object_, colour, background in contents
    ]
    return torch.tensor(rows, device=device)


def train_judge(
    *, count: int, batch: int, seconds: float, device: torch.device, seed: int = 71
) -> tuple[Judge, dict[str, float]]:
    """A judge and its accuracy on clean pictures it never saw, strange ones among them."""
    random = Random(seed)
    known = [*combinations(held_out=False), *combinations(held_out=True)]
    random.shuffle(known)
    strange = [
        (name, random.choice(list(COLOURS)), random.choice(list(BACKGROUNDS)))
        for name in STRANGE_SHAPES
        for _ in range(12)
    ]
    subjects = [*known, *strange]
    lesson = make_pictures(subjects, count=count, size=JUDGED_SIZE, seed=seed, device=device)
    exam = make_pictures(
        subjects, count=max(64, count // 8), size=JUDGED_SIZE, seed=seed + 1, device=device
    )
    judge = Judge().to(device)
    teach(judge, lesson, batch=batch, seconds=seconds)
    result = examine(judge, exam)
    print(f"judge on {len(exam)} clean pictures: {result}", flush=True)
    return judge, result


def teach(judge: Judge, lesson: PictureSet, *, batch: int, seconds: float) -> None:
    """Train in place."""
    device = lesson.pixels.device
    wanted = labels([c.combination for c in lesson.contents], device=device)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    budget = Budget(seconds=seconds)
    while not budget.is_over:
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate(LEARNING_RATE, lowest=1e-5)
        chosen = torch.randint(len(lesson), (batch,), device=device)
        pictures, targets = disturb(to_unit(lesson.pixels[chosen]), wanted[chosen])
        with torch.autocast(device.type, torch.bfloat16):
            scores = judge(pictures)
        loss = torch.stack(
            [
                cross_entropy(s.float(), targets[:, n], label_smoothing=0.02)
                for n, s in enumerate(scores)
            ]
        ).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if budget.is_time_to_report(REPORT_SECONDS):
            print(f"judge {budget.spent:5.0f} s: loss {float(loss):.3f}", flush=True)


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


def join_verdicts(parts: Sequence[Verdicts]) -> Verdicts:
    """All of them in one."""
    return Verdicts(
        object_=torch.cat([part.object_ for part in parts]),
        colour=torch.cat([part.colour for part in parts]),
        background=torch.cat([part.background for part in parts]),
    )


def save_judge(judge: Judge, path: Path, result: dict[str, float]) -> None:
    """Half precision; the accuracy it reached is in the file's metadata."""
    tensors = {name: value.half().contiguous() for name, value in judge.state_dict().items()}
    save_file(tensors, path, metadata={name: str(value) for name, value in result.items()})


def load_judge(path: Path, *, device: torch.device) -> Judge:
    """A judge in float32."""
    judge = Judge()
    judge.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return judge.to(device).eval()
