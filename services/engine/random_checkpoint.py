"""A genuine small Stable Diffusion 3.5 with random weights: it draws noise, but by the real way.

    python -m services.engine.random_checkpoint FOLDER

It serves where the trained checkpoint is not there; the folder loads in plain diffusers.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import torch

from services.engine.small_model import SmallModelShape, build_small_model, save_small_model

SEED: Final = 35
WORDS: Final = (
    *("a", "an", "the", "of", "on", "in", "and", "with", "photo", "picture", "background"),
    *("red", "green", "blue", "yellow", "orange", "purple", "pink", "white", "black", "brown"),
    *("mug", "cube", "ball", "vase", "chair", "lamp", "book", "bottle", "hat", "star", "table"),
)
# For tests: every part is there, and one step takes a few milliseconds.
SMALLEST_SHAPE: Final = SmallModelShape(
    layers=2,
    heads=1,
    clip_l_width=32,
    clip_g_width=32,
    t5_width=64,
    vae_channels=(8, 8, 16, 16),
    default_size=64,
    size_max=256,
)


def ensure_random_checkpoint(folder: Path, *, shape: SmallModelShape | None = None) -> Path:
    """Make the checkpoint if the folder is not there yet; a few seconds, always the same weights.

    Several processes may ask at once: each makes its own, and the first to rename wins.
    """
    if (folder / "model_index.json").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        make_random_checkpoint(unfinished, shape=shape or SmallModelShape())
        unfinished.chmod(0o755)
        _rename_unless_there(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def make_random_checkpoint(folder: Path, *, shape: SmallModelShape) -> None:
    """Write the checkpoint into a folder that may exist already."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        pipeline = build_small_model(shape, words=WORDS)
    save_small_model(pipeline, folder)


def _rename_unless_there(unfinished: Path, folder: Path) -> None:
    try:
        os.rename(unfinished, folder)  # noqa: PTH104  Path.rename hides which errors the system gave
    except OSError:
        if not (folder / "model_index.json").exists():
            raise


def main() -> None:
    """Make the checkpoint in the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    ensure_random_checkpoint(parser.parse_args().folder)


if __name__ == "__main__":
    main()
