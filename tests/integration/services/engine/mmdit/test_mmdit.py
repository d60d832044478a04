"""Our forward gives what diffusers' gives; with FP8, as close as the fidelity gates ask."""

from typing import Any, cast

import pytest
import torch

from services.engine.closeness import cosine, relative_error
from services.engine.errors import WrongArchitectureError
from services.engine.mmdit.arithmetic import Arithmetic, ModulationPlace
from services.engine.mmdit.backends import Backend
from services.engine.mmdit.mmdit import Mmdit
from tests.integration.services.engine.mmdit.small_transformers import (
    diffusers_answer,
    our_answer,
    question,
    small_transformer,
)

# Page 04's gates of one step against fp32.
ERROR_MAX = 0.05
COSINE_MIN = 0.999

DUAL_ATTENTION = [(), (0, 1)]


@torch.inference_mode()
@pytest.mark.parametrize("dual", DUAL_ATTENTION, ids=["large", "medium"])
def test_in_float32_it_is_diffusers_forward(dual: tuple[int, ...]) -> None:
    asked = question()
    expected = diffusers_answer(small_transformer(dual_attention_layers=dual), asked)

    given = our_answer(small_transformer(dual_attention_layers=dual), asked, Arithmetic())

    assert relative_error(given, expected) < 2e-6


@torch.inference_mode()
@pytest.mark.parametrize("backend", [Backend.SCALED_MM, Backend.WEIGHT_STORAGE])
@pytest.mark.parametrize("dual", DUAL_ATTENTION, ids=["large", "medium"])
def test_fp8_stays_within_the_gates_of_one_step(backend: Backend, dual: tuple[int, ...]) -> None:
    asked = question()
    expected = diffusers_answer(small_transformer(dual_attention_layers=dual), asked)

    given = our_answer(
        small_transformer(dual_attention_layers=dual), asked, Arithmetic(backend=backend)
    )

    assert 1e-4 < relative_error(given, expected) <= ERROR_MAX
    assert cosine(given, expected) >= COSINE_MIN


@torch.inference_mode()
def test_bfloat16_stays_near_float32() -> None:
    asked = question()
    expected = diffusers_answer(small_transformer(), asked)

    given = our_answer(small_transformer(), asked, Arithmetic(), dtype=torch.bfloat16)

    assert relative_error(given, expected) < 0.01


@torch.inference_mode()
def test_modulation_from_the_hosts_memory_is_the_same() -> None:
    asked = question()
    resident = our_answer(small_transformer(), asked, Arithmetic())

    given = our_answer(small_transformer(), asked, Arithmetic(modulation=ModulationPlace.OFFLOADED))

    assert torch.allclose(given, resident, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("backend", [Backend.NONE, Backend.SCALED_MM])
def test_a_batch_mates_outlier_changes_nothing(backend: Backend) -> None:
    asked = question()
    alone = our_answer(small_transformer(), asked, Arithmetic(backend=backend))
    asked.latents[1] *= 1000.0

    beside_an_outlier = our_answer(small_transformer(), asked, Arithmetic(backend=backend))

    assert relative_error(beside_an_outlier[0], alone[0]) < 1e-6


def test_another_architecture_is_refused() -> None:
    transformer = small_transformer()
    cast("Any", transformer).register_to_config(qk_norm=None)

    with pytest.raises(WrongArchitectureError, match=r"give a Stable Diffusion 3\.5"):
        Mmdit(transformer, device=torch.device("cpu"), dtype=torch.float32, arithmetic=Arithmetic())
