"""Many rendered pictures in memory, with what they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic

import torch
from torch import Tensor

from services.engine.training.picture_shards import render_shards
from services.engine.training.rendering import draw_scene
from services.engine.training.vocabulary import Content, draw_content


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSet:
    """Pictures and their contents, in the same order."""

    contents: tuple[Content, ...]
    pixels: Tensor
    """[N, 3, size, size] uint8, on the device it was rendered on."""

    def __len__(self) -> int:
        return len(self.contents)


def make_pictures(
    combinations: Sequence[tuple[str, str, str]],
    *,
    count: int,
    size: int,
    seed: int,
    device: torch.device,
    work: Path,
) -> PictureSet:
    """`count` pictures, the combinations in turn; everything else by chance of the seed.

    What lies rendered in the work folder is not rendered again.
    """
    random = Random(seed)
    contents = [draw_content(random, combinations[n % len(combinations)]) for n in range(count)]
    # The renderer takes pictures of one object at a time.
    contents.sort(key=lambda content: content.object_)
    scenes = [draw_scene(random, content) for content in contents]
    began = monotonic()
    pixels = torch.cat(list(render_shards(scenes, size=size, device=device, work=work)))
    print(f"{count} pictures of {size}² are there after {monotonic() - began:.0f} s", flush=True)
    return PictureSet(contents=tuple(contents), pixels=pixels.to(device))


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 → float from -1 to 1, as the VAE takes it."""
    return pixels.float() / 127.5 - 1.0
