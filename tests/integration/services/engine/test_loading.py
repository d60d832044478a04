"""A folder that cannot be served is refused with a sentence that says what to mend."""

# pyright: standard

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.engine.errors import (
    DamagedModelError,
    ModelNotFoundError,
    WrongArchitectureError,
)
from services.engine.loading import LoadedModel, load_model
from services.engine.marks import MarkKind
from services.engine.random_checkpoint import SMALLEST_SHAPE, ensure_random_checkpoint
from services.engine.weight_hashes import check_hashes, write_hashes
from tests.integration.services.engine.drawing_aids import RecordedMarks

TRANSFORMER_FILE = Path("transformer") / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


def load(folder: Path | str) -> LoadedModel:
    return load_model(str(folder), device="cpu", dtype="float32", marks=RecordedMarks())


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_loading_is_marked_as_work_for_nobody(checkpoint: Path) -> None:
    marks = RecordedMarks()

    model = load_model(str(checkpoint), device="cpu", dtype="bfloat16", marks=marks)

    assert [(mark.kind, mark.number, mark.work) for mark in marks.marks] == [(MarkKind.LOAD, 1, ())]
    assert model.transformer.dtype is torch.bfloat16
    assert model.last_mark_number == 1


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ModelNotFoundError, match="there is no folder /nowhere/at/all"):
        load("/nowhere/at/all")


def test_a_hub_name_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(ModelNotFoundError, match="nobody/nothing is neither a folder nor"):
        load("nobody/nothing")


def test_a_folder_without_an_index_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DamagedModelError, match=r"model_index.json is missing"):
        load(tmp_path)


def test_another_pipeline_is_refused(folder: Path) -> None:
    rewrite(folder / "model_index.json", _class_name="FluxPipeline")

    with pytest.raises(WrongArchitectureError, match="holds a FluxPipeline"):
        load(folder)


def test_another_transformer_is_refused(folder: Path) -> None:
    rewrite(folder / "model_index.json", transformer=["diffusers", "FluxTransformer2DModel"])

    with pytest.raises(WrongArchitectureError, match="transformer is FluxTransformer2DModel"):
        load(folder)


def test_a_missing_part_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "vae")

    with pytest.raises(DamagedModelError, match="vae is missing"):
        load(folder)


def test_weights_cut_short_are_damaged(folder: Path) -> None:
    path = folder / TRANSFORMER_FILE
    path.write_bytes(path.read_bytes()[:-1000])

    with pytest.raises(DamagedModelError, match=r"model.safetensors is damaged"):
        load(folder)


def test_weights_that_lack_a_tensor_are_damaged(folder: Path) -> None:
    tensors = load_file(folder / TRANSFORMER_FILE)
    del tensors["proj_out.weight"]
    save_file(tensors, folder / TRANSFORMER_FILE)

    with pytest.raises(DamagedModelError, match=r"lack 1 weights .* proj_out\.weight"):
        load(folder)


def test_pickled_weights_are_never_read(folder: Path) -> None:
    path = folder / TRANSFORMER_FILE
    path.rename(path.with_suffix(".bin"))

    with pytest.raises(DamagedModelError, match="only pickled weights"):
        load(folder)


def test_another_scheduler_is_refused(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    rewrite(path, _class_name="DDIMScheduler")

    with pytest.raises(WrongArchitectureError, match="holds a DDIMScheduler"):
        load(folder)


def test_a_model_without_t5_is_served_too(folder: Path) -> None:
    rewrite(folder / "model_index.json", text_encoder_3=[None, None], tokenizer_3=[None, None])

    assert load(folder).t5_encoder is None


def test_the_random_checkpoint_is_always_the_same(checkpoint: Path, tmp_path: Path) -> None:
    again = ensure_random_checkpoint(tmp_path / "again", shape=SMALLEST_SHAPE)

    names = sorted(str(p.relative_to(again)) for p in again.rglob("*") if p.is_file())
    assert names == sorted(
        str(p.relative_to(checkpoint)) for p in checkpoint.rglob("*") if p.is_file()
    )
    assert [(again / name).read_bytes() == (checkpoint / name).read_bytes() for name in names] == [
        True
    ] * len(names)


def test_weights_that_are_not_what_their_hashes_say_are_damaged(folder: Path) -> None:
    write_hashes(folder)
    path = folder / TRANSFORMER_FILE
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 1
    path.write_bytes(flipped)

    with pytest.raises(DamagedModelError, match=r"model.safetensors is not what SHA256SUMS says"):
        load(folder)


def test_a_file_without_a_hash_and_a_hash_without_a_file_are_damage(folder: Path) -> None:
    write_hashes(folder)
    sums = folder / "SHA256SUMS"
    lines = sums.read_text().splitlines(keepends=True)

    sums.write_text("".join(lines[1:]))
    with pytest.raises(DamagedModelError, match=r"does not name text_encoder/model.safetensors"):
        load(folder)
    sums.write_text("".join(lines) + "0" * 64 + "  vae/more.safetensors\n")
    with pytest.raises(DamagedModelError, match=r"vae/more.safetensors is missing"):
        load(folder)


def test_whole_weights_with_hashes_are_loaded(folder: Path) -> None:
    write_hashes(folder)

    assert load(folder).t5_encoder is not None


def test_the_checkpoint_that_ships_is_what_its_hashes_say() -> None:
    shipped = Path(__file__).parents[4] / "deploy" / "models" / "atelier-mini"

    check_hashes(shipped)

    files = [path for path in shipped.rglob("*") if path.is_file()]
    assert (shipped / "SHA256SUMS") in files
    assert max(path.stat().st_size for path in files) < 16_000_000
    assert sum(path.stat().st_size for path in files) < 24_000_000
