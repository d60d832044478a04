"""What we draw is what plain diffusers draws."""

# pyright: standard

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import (
    StableDiffusion3Pipeline,
)

from services.engine.drawing_model import DiffusionModel
from services.engine.engine import Engine
from services.engine.image_spec import ImageSpec
from services.engine.loading import LoadedModel, load_model
from services.engine.text_encoding import TextEncoding, encode_prompt
from tests.integration.services.engine.drawing_aids import SPEC, RecordedMarks, submit

# Of 255: a value on the border may be rounded to the next level.
TOLERANCE_LEVELS = 1


@pytest.fixture(scope="module")
def pipeline(checkpoint: Path) -> Any:
    return load_pipeline(checkpoint)


def load_pipeline(folder: Path) -> Any:
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def shifted_checkpoint(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "shifted"
    shutil.copytree(checkpoint, folder)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_dynamic_shifting": True}))
    return folder


def draw_plainly(pipeline: Any, spec: ImageSpec) -> np.ndarray:
    generator = torch.Generator("cpu").manual_seed(spec.seed)
    picture = pipeline(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        width=spec.width,
        height=spec.height,
        num_inference_steps=spec.num_inference_steps,
        guidance_scale=spec.guidance_scale,
        max_sequence_length=spec.max_sequence_length,
        generator=generator,
    ).images[0]
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, guidance_scale=1.0),
        replace(SPEC, negative_prompt="blurred", width=96, num_inference_steps=3),
        replace(SPEC, max_sequence_length=77, prompt="a red mug, " * 40),
    ],
    ids=["guided", "unguided", "negative prompt", "too long a prompt"],
)
def test_a_picture_is_that_of_the_plain_pipeline(
    engine: Engine, pipeline: Any, spec: ImageSpec
) -> None:
    ours = submit(engine, "a", spec).result(20).pixels.astype(int)

    assert np.abs(ours - draw_plainly(pipeline, spec)).max() <= TOLERANCE_LEVELS


@pytest.fixture
def shifted_engine(shifted_checkpoint: Path, marks: RecordedMarks) -> Iterator[Engine]:
    model = load_model(str(shifted_checkpoint), device="cpu", dtype="float32", marks=marks)
    engine = Engine(
        model=DiffusionModel(model), batch_slots=1, interactive_slots=1, marks=marks, threads=1
    )
    engine.start()
    yield engine
    engine.close()


def test_a_shift_by_picture_size_is_taken_from_the_scheduler(
    shifted_engine: Engine, shifted_checkpoint: Path, pipeline: Any
) -> None:
    ours = submit(shifted_engine, "a").result(20).pixels.astype(int)

    plain = draw_plainly(load_pipeline(shifted_checkpoint), SPEC)
    unshifted = draw_plainly(pipeline, SPEC)
    assert np.abs(ours - plain).max() <= TOLERANCE_LEVELS
    assert np.abs(ours - unshifted).max() > TOLERANCE_LEVELS


@pytest.mark.parametrize("prompt", ["a red mug", "", "Ein Käfer! 123", "mug " * 200])
def test_embeddings_are_those_of_the_pipeline(
    model: LoadedModel, pipeline: Any, prompt: str
) -> None:
    with torch.inference_mode():
        ours = encode_prompt(model, prompt, 32)
        tokens, _, pooled, _ = pipeline.encode_prompt(
            prompt, None, None, do_classifier_free_guidance=False, max_sequence_length=32
        )

    assert torch.equal(ours.tokens, tokens[0])
    assert torch.equal(ours.pooled, pooled[0])


def test_embeddings_are_remembered_up_to_a_number_of_bytes(model: LoadedModel) -> None:
    one = encode_prompt(model, "mug", 16).size_bytes
    encoding = TextEncoding(model, bytes_max=2 * one)

    for prompt in ("mug", "vase", "mug", "lamp"):
        encoding.encode(prompt, 16)

    remembered = [p for p in ("mug", "vase", "lamp") if encoding.is_remembered(p, 16)]
    assert remembered == ["mug", "lamp"]
