"""Which backend and which attention a device gets, and what is refused with which sentence."""

import pytest

from services.engine.devices import ArithmeticWish, choose_arithmetic, describe_precision
from services.engine.errors import ModelLoadError
from services.engine.mmdit.attention import AttentionKernel, choose_attention
from services.engine.mmdit.backends import Backend, ComputeCapability, choose_backend

AMPERE = ComputeCapability(major=8, minor=0)
ADA = ComputeCapability(major=8, minor=9)
HOPPER = ComputeCapability(major=9, minor=0)


@pytest.mark.parametrize(
    ("capability", "backend"),
    [
        (None, Backend.NONE),
        (AMPERE, Backend.WEIGHT_STORAGE),
        (ADA, Backend.SCALED_MM),
        (HOPPER, Backend.SCALED_MM),
    ],
)
def test_auto_takes_fp8_arithmetic_where_the_gpu_has_it(
    capability: ComputeCapability | None, backend: Backend
) -> None:
    assert choose_backend("auto", capability=capability, has_transformer_engine=True) is backend


@pytest.mark.parametrize("backend", [Backend.NONE, Backend.SCALED_MM, Backend.WEIGHT_STORAGE])
def test_the_cpu_takes_every_backend_that_needs_no_gpu(backend: Backend) -> None:
    assert choose_backend(backend, capability=None, has_transformer_engine=False) is backend


@pytest.mark.parametrize(
    ("wish", "capability", "has_transformer_engine", "sentence"),
    [
        ("fp4", HOPPER, True, "there is no backend 'fp4': set one of auto, none, scaled_mm"),
        ("scaled_mm", AMPERE, True, "set the backend weight_storage or none"),
        ("transformer_engine", AMPERE, True, "set the backend auto, weight_storage or none"),
        ("transformer_engine", None, True, "needs a GPU of compute capability 8.9"),
        ("transformer_engine", HOPPER, False, "install atelier-servers[worker-gpu]"),
    ],
)
def test_a_backend_that_cannot_be_had_is_refused_with_what_to_do(
    wish: str, capability: ComputeCapability | None, has_transformer_engine: bool, sentence: str
) -> None:
    with pytest.raises(ModelLoadError, match=sentence.replace("[", r"\[")):
        choose_backend(wish, capability=capability, has_transformer_engine=has_transformer_engine)


def test_attention_is_flash_4_where_it_is_installed_on_hopper() -> None:
    assert choose_attention("auto", capability=HOPPER, has_flash_4=True) is AttentionKernel.FLASH_4
    assert choose_attention("auto", capability=HOPPER, has_flash_4=False) is AttentionKernel.TORCH
    assert choose_attention("auto", capability=AMPERE, has_flash_4=True) is AttentionKernel.TORCH
    assert choose_attention("auto", capability=None, has_flash_4=True) is AttentionKernel.TORCH


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ("flash_4", "install atelier-servers"),
        ("cudnn", "needs a GPU: set the attention auto"),
        ("sage", "there is no attention 'sage'"),
    ],
)
def test_an_attention_that_cannot_be_had_is_refused(wish: str, sentence: str) -> None:
    with pytest.raises(ModelLoadError, match=sentence):
        choose_attention(wish, capability=None, has_flash_4=False)


@pytest.mark.parametrize(
    "wish", [ArithmeticWish(fp8_recipe="delayed"), ArithmeticWish(modulation="swapped")]
)
def test_an_unknown_recipe_or_place_is_refused_by_name(wish: ArithmeticWish) -> None:
    with pytest.raises(ModelLoadError, match="set one of"):
        choose_arithmetic(wish, capability=None)


def test_receipts_name_the_backend() -> None:
    names = [describe_precision(backend, own="bf16", device="NVIDIA H200") for backend in Backend]

    assert names == [
        "bf16 NVIDIA H200",
        "fp8 scaled_mm NVIDIA H200",
        "fp8 transformer_engine NVIDIA H200",
        "fp8 weights, bf16 NVIDIA H200",
    ]
