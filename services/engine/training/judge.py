"""The judge: a small network that says what a picture shows, or that it is none of the objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from services.engine.training.vocabulary import BACKGROUNDS, COLOURS, OBJECTS

JUDGED_SIZE: Final = 128
NONE: Final = len(OBJECTS)


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
        widths = (3, 24, 48, 64, 96, 96)
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


def judge_accuracy(path: Path) -> dict[str, float]:
    """What the judge reached in its exam, as shares of right answers."""
    with safe_open(path, framework="pt") as opened:
        return {name: float(value) for name, value in opened.metadata().items()}


def load_judge(path: Path, *, device: torch.device) -> Judge:
    """A judge in float32."""
    judge = Judge()
    judge.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return judge.to(device).eval()
