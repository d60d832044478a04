"""Rendering in pieces that are kept, so that an interrupted run renders only what is missing.

On a CPU the pieces are shared out among processes: one thread each is the quickest for the many
small steps of a marching ray (17 pictures of 128² a second on two cores, 11 with two threads).
"""

import hashlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.engine.training.rendering import Scene, render

SHARD_PICTURES: Final = 64
CHUNK_CPU: Final = 4
CHUNK_GPU: Final = 32
REPORT_EVERY: Final = 4


def render_shards(
    scenes: Sequence[Scene], *, size: int, device: torch.device, work: Path
) -> Iterator[Tensor]:
    """[n, 3, size, size] uint8 on the CPU, shard by shard, in the order of the scenes."""
    folder = work / "pictures" / f"{size}-{fingerprint(scenes)}"
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(scenes), SHARD_PICTURES)
    shards = [scenes[start : start + SHARD_PICTURES] for start in starts]
    paths = [folder / f"{number:05d}.safetensors" for number in range(len(shards))]
    missing = [pair for pair in zip(shards, paths, strict=True) if not pair[1].exists()]
    for done, _ in enumerate(_render_all(missing, size=size, device=device), start=1):
        if done % REPORT_EVERY == 0 or done == len(missing):
            there = len(shards) - len(missing) + done
            print(f"pictures of {size}²: {there} of {len(shards)} pieces", flush=True)
    for path in paths:
        yield load_file(path)["pixels"]


def fingerprint(scenes: Sequence[Scene]) -> str:
    """Tells sets of scenes apart; another vocabulary gives other scenes."""
    return hashlib.sha256(repr(scenes).encode()).hexdigest()[:16]


def _render_all(
    missing: Sequence[tuple[Sequence[Scene], Path]], *, size: int, device: torch.device
) -> Iterator[object]:
    render_one = partial(_render_shard, size=size, device=device)
    # A few pictures are rendered sooner than a process has started.
    if device.type == "cuda" or len(missing) < 2:
        yield from map(render_one, missing)
        return
    with ProcessPoolExecutor(
        os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:
        yield from pool.map(render_one, missing)


def _render_shard(
    scenes_and_path: tuple[Sequence[Scene], Path], *, size: int, device: torch.device
) -> None:
    scenes, path = scenes_and_path
    chunk_max = CHUNK_GPU if device.type == "cuda" else CHUNK_CPU
    pixels = torch.cat(
        [
            render(scenes[start:end], size=size, device=device).cpu()
            for start, end in chunks_of_one_object(scenes, chunk_max=chunk_max)
        ]
    )
    unfinished = path.with_suffix(".new")
    save_file({"pixels": pixels.contiguous()}, unfinished)
    unfinished.replace(path)


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
