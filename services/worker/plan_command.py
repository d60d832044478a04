"""`atelier-worker plan`: what a model would need on cards of several sizes, before one is bought.

    atelier-worker plan --model stabilityai/stable-diffusion-3.5-large --memory-gb 16 24 48 80

Nothing is loaded and no GPU is needed. A GB is 10⁹ bytes; a card sold as 24 GB has 25.8 of them, so
what is printed holds on it.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from services.engine.errors import ModelLoadError, ModelNotFoundError, ModelTooLargeError
from services.engine.image_spec import CompatibilityKey
from services.engine.memory_plan import (
    BLOCK_WEIGHT_BYTES,
    CONTEXT_BYTES,
    GB,
    WORKSPACE_BYTES,
    MemoryPlan,
    PlanRequest,
    make_plan,
)
from services.engine.model_outline import ModelOutline, known_outline, read_outline
from services.engine.residence import Residence

_MEMORY_GB: Final = (16.0, 24.0, 48.0, 80.0)
_IMAGES_WISHED: Final = 4


def plan_lines(arguments: Sequence[str]) -> Iterator[str]:
    """A profile for each memory and backend.

    Raises:
        ModelLoadError: the model or the size cannot be planned for; says what to mend.
    """
    options = _parse(arguments)
    outline = find_outline(options.model)
    size = options.size or outline.native_size
    if size % outline.patch_pixels:
        raise ModelLoadError(f"size {size} must be a multiple of {outline.patch_pixels}")
    key = CompatibilityKey(size, size, options.max_sequence_length, is_guided=True)
    yield _head(outline, key, reserve_gb=options.reserve_gb)
    for memory_gb in options.memory_gb:
        for backend in options.backend or BLOCK_WEIGHT_BYTES:
            request = PlanRequest(
                outline=outline,
                free_bytes=round(memory_gb * GB) - CONTEXT_BYTES,
                backend=backend,
                reserve_bytes=round(options.reserve_gb * GB),
                text_encoders=options.text_encoders,
                modulation=options.modulation,
                images_wished=_IMAGES_WISHED,
            )
            yield f"{memory_gb:>6g} GB  {backend:<19}{profile(request, key)}"


def find_outline(model: str) -> ModelOutline:
    """Return the outline of a folder in diffusers format, or of a well-known model by its name.

    Raises:
        ModelLoadError: there is neither.
    """
    if known := known_outline(model):
        return known
    if not Path(model).is_dir():
        raise ModelNotFoundError(
            f"{model} is no folder and no model whose shape is known: give a folder in diffusers"
            " format, or a name such as stabilityai/stable-diffusion-3.5-large"
        )
    return read_outline(Path(model))


def profile(request: PlanRequest, key: CompatibilityKey) -> str:
    """One line: the largest batch and what takes the memory, or why there is none."""
    try:
        plan = make_plan(request, key)
    except ModelTooLargeError as error:
        return f"does not fit: {str(error).partition(': ')[2]}"
    return "  ".join(f"{amount:>{width}}" for amount, width in _columns(plan, key))


def _columns(plan: MemoryPlan, key: CompatibilityKey) -> tuple[tuple[str, int], ...]:
    images = plan.images_max(key)
    peak_bytes = plan.peak_bytes(key, images=min(images, _IMAGES_WISHED))
    return (
        (f"{images}", 5),
        (f"{plan.transformer_bytes / GB:.2f}", 11),
        (f"{plan.encoders_bytes / GB:.2f} {plan.text_encoders}", 15),
        (f"{plan.image_bytes(key) / GB:.2f}", 9),
        (f"{plan.decode_bytes(key) / GB:.2f}" + (" tiled" if plan.tiled_decoding else ""), 10),
        (f"{peak_bytes / GB:.1f} at {min(images, _IMAGES_WISHED)}", 9),
    )


def _head(outline: ModelOutline, key: CompatibilityKey, *, reserve_gb: float) -> str:
    titles = ("batch", "transformer", "encoders", "per image", "VAE slice", "peak")
    widths = (5, 11, 15, 9, 10, 9)
    row = "  ".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True))
    return (
        f"{outline.name} at {key.width}×{key.height}, guided, {key.max_sequence_length} tokens of"
        f" text; GB; {reserve_gb:g} GB are kept free, {CONTEXT_BYTES / GB:g} GB are the driver's,"
        f" {WORKSPACE_BYTES / GB:.1f} GB workspace; VAE {outline.vae_parameters * 2 / GB:.2f}\n"
        f"{'memory':>9}  {'backend':<19}{row}"
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="atelier-worker plan", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", required=True, help="a folder, or a well-known hub name")
    parser.add_argument("--memory-gb", type=float, nargs="+", default=_MEMORY_GB)
    parser.add_argument("--backend", nargs="+", choices=tuple(BLOCK_WEIGHT_BYTES))
    parser.add_argument("--size", type=int, help="width and height; the model's own by default")
    parser.add_argument("--max-sequence-length", type=int, default=256)
    parser.add_argument("--reserve-gb", type=float, default=2.5)
    parser.add_argument("--text-encoders", type=Residence, choices=tuple(Residence))
    parser.add_argument(
        "--modulation", type=Residence, choices=tuple(Residence), default=Residence.RESIDENT
    )
    return parser.parse_args(arguments)
