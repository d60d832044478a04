"""What the memory plan decides is done: where encoders live, tiles, and a bound that holds."""

# pyright: standard

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.engine import picture_tiles
from services.engine.device_plan import MemoryWish, find_free_bytes, plan_for_device
from services.engine.devices import choose_device
from services.engine.drawing_model import DiffusionModel
from services.engine.errors import ModelTooLargeError
from services.engine.loading import LoadedModel, load_model
from services.engine.memory_plan import GB, native_key
from services.engine.residence import Residence
from services.engine.text_encoding import encode_prompt
from tests.integration.services.engine.drawing_aids import RecordedMarks

CPU = torch.device("cpu")


def load(folder: Path, **wish: Any) -> LoadedModel:
    return load_model(str(folder), device="cpu", dtype="float32", marks=RecordedMarks(), **wish)


def test_offloaded_encoders_say_what_resident_ones_say(
    checkpoint: Path, model: LoadedModel
) -> None:
    offloaded = load(checkpoint, text_encoders=Residence.OFFLOADED)

    with torch.inference_mode():
        theirs = encode_prompt(offloaded, "a red mug", 16)
        ours = encode_prompt(model, "a red mug", 16)
    assert torch.equal(theirs.tokens, ours.tokens)
    assert torch.equal(theirs.pooled, ours.pooled)


def test_offloaded_encoders_hold_nothing_on_the_device_between_prompts(checkpoint: Path) -> None:
    offloaded = load(checkpoint, text_encoders=Residence.OFFLOADED)

    with torch.inference_mode():
        encode_prompt(offloaded, "a red mug", 16)

    encoders = [*offloaded.clip_encoders, offloaded.t5_encoder]
    devices = {p.device.type for encoder in encoders if encoder for p in encoder.parameters()}
    assert devices == {"meta"}


def test_a_picture_decoded_in_tiles_looks_like_the_whole_one(
    checkpoint: Path, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_tiles, "TILE_SIZE", 128)
    tiled = load(checkpoint, tiled_decoding=True)
    latents = torch.randn(16, 32, 32, generator=torch.Generator().manual_seed(1))

    with torch.inference_mode():
        one, other = (DiffusionModel(m).decode(latents).astype(int) for m in (model, tiled))

    assert one.shape == other.shape == (256, 256, 3)
    # Seams are blended, and a tile's norms see only the tile: alike, not the same.
    assert 0 < np.abs(one - other).mean() < 16


def test_a_cpu_is_planned_for_only_when_a_bound_is_set(checkpoint: Path) -> None:
    device = choose_device("cpu")
    unbound = MemoryWish(reserve_bytes=0)

    bound = plan_for_device(
        str(checkpoint), device, replace(unbound, memory_bytes=4 * GB), images_wished=4
    )

    assert plan_for_device(str(checkpoint), device, unbound, images_wished=4) is None
    assert bound is not None
    assert bound.text_encoders is Residence.RESIDENT
    assert bound.images_max(native_key(bound.request.outline)) >= 4
    assert find_free_bytes(CPU, replace(unbound, memory_bytes=4 * GB)) == 3_350_000_000


def test_a_model_too_large_for_the_bound_is_refused_before_it_is_loaded(checkpoint: Path) -> None:
    wish = MemoryWish(reserve_bytes=2_500_000_000, memory_bytes=3 * GB)

    with pytest.raises(ModelTooLargeError, match=r"GB are free: use a card with more memory"):
        plan_for_device(str(checkpoint), choose_device("cpu"), wish, images_wished=4)
