"""`atelier-worker plan` prints a line per card and backend, and says what is wrong with a wish."""

from pathlib import Path

import pytest

from services.engine.errors import ModelLoadError
from services.worker.plan_command import plan_lines

MINI = Path(__file__).parents[4] / "deploy" / "models" / "atelier-mini"
LARGE = "stabilityai/stable-diffusion-3.5-large"


def test_each_card_and_backend_gets_a_line() -> None:
    lines = list(plan_lines(["--model", LARGE, "--modulation", "offloaded"]))

    assert len(lines) == 1 + 4 * 4
    assert lines[0].startswith(f"{LARGE} at 1024×1024, guided, 256 tokens of text; GB; 2.5 GB are")


def test_the_largest_batch_is_told_with_what_takes_the_memory() -> None:
    *_, line = plan_lines(["--model", LARGE, "--memory-gb", "24", "--backend", "scaled_mm"])

    columns = line.split()
    assert columns[:4] == ["24", "GB", "scaled_mm", "9"]
    assert columns[4:7] == ["10.77", "0.26", "offloaded"]


def test_what_does_not_fit_says_what_would_help() -> None:
    *_, line = plan_lines(["--model", LARGE, "--memory-gb", "16", "--backend", "none"])

    assert line.endswith(
        "does not fit: use a card with more memory, or set backend=weight_storage, which halves the"
        " blocks' weights, or set modulation=offloaded, or lower memory_reserve_gb"
    )


def test_a_folder_is_planned_for_by_its_configuration() -> None:
    head, *_ = plan_lines(["--model", str(MINI), "--memory-gb", "4"])

    assert head.startswith(f"{MINI} at 256×256")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "/nowhere"], "/nowhere is no folder and no model whose shape is known"),
        (["--model", LARGE, "--size", "1000"], "size 1000 must be a multiple of 16"),
    ],
)
def test_a_wish_that_cannot_be_planned_is_refused_with_a_sentence(
    arguments: list[str], message: str
) -> None:
    with pytest.raises(ModelLoadError, match=message):
        list(plan_lines(arguments))
