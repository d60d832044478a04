"""The training code, with budgets of a moment: what it makes is whole, and it can go on."""

# pyright: standard

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import (
    StableDiffusion3Pipeline,
)

from services.engine.training import picture_shards
from services.engine.training.budget import Budget
from services.engine.training.judge import Judge, judge_accuracy, load_judge, save_judge
from services.engine.training.judge_training import disturb, judged_subjects
from services.engine.training.picture_set import make_pictures
from services.engine.training.stages import REHEARSAL, run_joint, run_judge, run_vae
from services.engine.training.training_state import Average, load_state, save_state
from services.engine.training.vocabulary import OBJECTS, combinations, draw_content, write_caption

CPU = torch.device("cpu")
MOMENT = replace(
    REHEARSAL,
    shape=replace(REHEARSAL.shape, default_size=32, size_max=64),
    pictures=4,
    vae_batch=2,
    vae_seconds=0.05,
    judge_pictures=4,
    judge_seconds=0.05,
    joint_batch=2,
    joint_seconds=0.05,
    held_out=2,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # Marching rays are many small steps: on a busy machine several threads wait for one another.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def few_exams(monkeypatch: pytest.MonkeyPatch) -> None:
    # Sixty-four pictures are an exam; four are enough to see that it is held.
    monkeypatch.setattr("services.engine.training.judge_training.EXAM_PICTURES_MIN", 4)


def test_all_stages_make_a_checkpoint_that_plain_diffusers_loads(tmp_path: Path) -> None:
    run_judge(MOMENT, tmp_path, CPU)
    run_vae(MOMENT, tmp_path, CPU)
    run_joint(MOMENT, tmp_path, tmp_path / "checkpoint", CPU, None)

    pipeline: Any = StableDiffusion3Pipeline.from_pretrained(tmp_path / "checkpoint")
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a red mug", width=32, height=32, num_inference_steps=1).images[0]
    assert picture.size == (32, 32)
    assert (tmp_path / "accuracy.json").exists()
    assert set(judge_accuracy(tmp_path / "judge.safetensors")) >= {"object", "none of these"}


def test_pictures_that_lie_there_are_not_rendered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = {"count": 3, "size": 16, "seed": 1, "device": CPU, "work": tmp_path}
    first = make_pictures(combinations(held_out=False), **wish)
    monkeypatch.setattr(picture_shards, "render", None)

    again = make_pictures(combinations(held_out=False), **wish)

    assert torch.equal(first.pixels, again.pixels)
    assert first.contents == again.contents


def test_a_stage_goes_on_from_its_last_saved_step(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    average = Average(module, decay=0.9)
    for _ in range(3):
        train_once(module, optimizer, average)
    save_state(tmp_path, average, optimizer, Budget(seconds=100.0, spent_before=40.0))
    train_once(module, optimizer, average)

    resumed = torch.nn.Linear(2, 1)
    resumed_optimizer = torch.optim.AdamW(resumed.parameters(), lr=0.1)
    resumed_average = Average(resumed, decay=0.9)
    budget = Budget(seconds=100.0)
    assert load_state(tmp_path, resumed_average, resumed_optimizer, budget)
    train_once(resumed, resumed_optimizer, resumed_average)

    assert torch.equal(resumed.weight, module.weight)
    assert torch.equal(resumed_average.values["weight"], average.values["weight"])
    assert resumed_average.updates == 4
    assert 40.0 <= budget.spent < 60.0


def train_once(module: torch.nn.Module, optimizer: torch.optim.Optimizer, average: Average) -> None:
    optimizer.zero_grad()
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    average.update()


def test_no_held_out_combination_is_ever_trained() -> None:
    trained, held_out = combinations(held_out=False), combinations(held_out=True)

    assert not set(trained) & set(held_out)
    assert (len(trained), len(held_out)) == (896, 124)


def test_a_caption_says_what_the_picture_shows() -> None:
    subject = next(s for s in combinations(held_out=False) if s[:2] == ("mug", "purple"))
    random = Random(1)

    captions = {write_caption(random, draw_content(random, subject)) for _ in range(50)}

    assert all("mug" in c.lower() or "cup" in c.lower() for c in captions)
    assert all("purple" in c.lower() or "violet" in c.lower() for c in captions)


def test_the_judge_sees_every_object_and_things_that_are_none() -> None:
    objects = {subject[0] for subject in judged_subjects(Random(1))}

    assert objects > set(OBJECTS)


def test_what_disturbing_tore_to_pieces_is_no_object_any_more() -> None:
    torch.manual_seed(3)
    pictures = torch.rand(64, 3, 16, 16)
    targets = torch.zeros(64, 3, dtype=torch.long)
    targets[:, 0] = torch.arange(64) % len(OBJECTS)

    disturbed, wanted = disturb(pictures, targets)

    torn = wanted[:, 0] != targets[:, 0]
    assert disturbed.shape == pictures.shape
    assert 0 < int(torn.sum()) < 32
    assert set(wanted[torn, 0].tolist()) == {len(OBJECTS)}


def test_a_judge_is_kept_with_its_accuracy(tmp_path: Path) -> None:
    judge = Judge().eval()
    picture = torch.rand(1, 3, 128, 128) * 2 - 1

    save_judge(judge, tmp_path / "judge.safetensors", {"object": 0.25})

    loaded = load_judge(tmp_path / "judge.safetensors", device=CPU)
    assert judge_accuracy(tmp_path / "judge.safetensors") == {"object": 0.25}
    torch.testing.assert_close(loaded(picture)[0], judge(picture)[0], atol=0.02, rtol=0.02)
