"""Many rendered pictures in memory, with what they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic

import torch
from torch import Tensor

from services.engine.training.rendering import Scene, draw_scene, render
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
) -> PictureSet:
    """`count` pictures, the combinations in turn; everything else by chance of the seed."""
    random = Random(seed)
    contents = [draw_content(random, combinations[n % len(combinations)]) for n in range(count)]
    # The renderer takes pictures of one object at a time.
    contents.sort(key=lambda content: content.object_)
    scenes = [draw_scene(random, content) for content in contents]
    pixels = torch.empty((count, 3, size, size), dtype=torch.uint8, device=device)
    began = monotonic()
    for start, end in chunks_of_one_object(scenes, chunk_max=32 if device.type == "cuda" else 4):
        pixels[start:end] = render(scenes[start:end], size=size, device=device)
    print(f"{count} pictures of {size}² rendered in {monotonic() - began:.0f} s", flush=True)
    return PictureSet(contents=tuple(contents), pixels=pixels)


def chunks_of_one_object(scenes: Sequence[Scene], *, chunk_max: int) -> list[tuple[int, int]]:
    """Ranges of neighbours that show the same object."""
    ranges: list[tuple[int, int]] = []
    start = 0
    for end in range(1, len(scenes) + 1):
        is_last = end == len(scenes)
        if (
            is_last
            or end - start == chunk_max
            or scenes[end].content.object_ != scenes[start].content.object_
        ):
            ranges.append((start, end))
            start = end
    return ranges


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 → float from -1 to 1, as the VAE takes it."""
    return pixels.float() / 127.5 - 1.0
