"""The kernels give what plain torch gives, on a card: `python -m pytest -m gpu tests/gpu`."""

# torch and diffusers are half untyped: as in services/engine, not strict.
# pyright: standard

import pytest
import torch

from services.engine.closeness import relative_error
from services.engine.mmdit.quantised_rows import QuantisedRows
from services.engine.mmdit.rows import HeadNorms, LinearInput, Shift
from services.engine.mmdit.torch_rows import TorchRows

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT CHECKED: there is no GPU here"),
]

# Rounding to bf16 alone, and to E4M3.
BF16_ERROR_MAX = 0.004
E4M3_ERROR_MAX = 0.03
# Large, Medium and the shipped checkpoint.
WIDTHS = [2432, 1536, 192]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


def values(given: LinearInput) -> torch.Tensor:
    return given.dequantised(torch.float32) if isinstance(given, QuantisedRows) else given.float()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("quantises", [False, True])
def test_what_lies_between_products_is_what_plain_torch_gives(
    width: int,
    quantises: bool,
) -> None:
    from services.engine.mmdit.triton_rows import TritonRows  # noqa: PLC0415

    torch.manual_seed(0)
    ours, plain = TritonRows(quantises=quantises), TorchRows(quantises=False)
    hidden, branch, wide = random(2, 50, width), random(100, width), random(100, 4 * width)
    pieces = random(2, 9 * width).unflatten(1, (9, width)) * 0.3
    exact = pieces.float()
    error_max = E4M3_ERROR_MAX if quantises else BF16_ERROR_MAX

    total, rows = ours.gated_sum_normed(
        hidden, branch, pieces[:, 2], Shift(pieces[:, 3], pieces[:, 4])
    )
    expected_total, expected_rows = plain.gated_sum_normed(
        hidden.float(), branch.float(), exact[:, 2], Shift(exact[:, 3], exact[:, 4])
    )

    assert relative_error(total, expected_total) < BF16_ERROR_MAX
    assert relative_error(values(rows), values(expected_rows)) < error_max
    assert relative_error(values(ours.gelu(wide)), values(plain.gelu(wide.float()))) < error_max


def test_heads_are_normed_and_placed_as_plain_torch_does() -> None:
    from services.engine.mmdit.triton_rows import TritonRows  # noqa: PLC0415

    norms, qkv = HeadNorms(random(64), random(64)), random(100, 3 * 2432)
    ours = torch.zeros(2, 90, 3, 38, 64, device="cuda", dtype=torch.bfloat16)
    plain = torch.zeros_like(ours)

    TritonRows(quantises=False).place_heads(qkv, norms, ours, first_token=40)
    TorchRows(quantises=False).place_heads(qkv, norms, plain, first_token=40)

    assert relative_error(ours, plain) < BF16_ERROR_MAX


@torch.inference_mode()
def test_the_fused_group_norm_is_group_norm_and_silu() -> None:
    from services.engine.vae.fused_norms import FusedGroupNormSilu  # noqa: PLC0415

    norm = torch.nn.GroupNorm(32, 256, eps=1e-6).to("cuda")
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    pixels = torch.randn(2, 256, 33, 65, device="cuda") * 3.0 + 1.0

    given = FusedGroupNormSilu(norm)(pixels)

    assert relative_error(given, torch.nn.functional.silu(norm(pixels))) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("channels", [24, 96, 128])
def test_a_decoder_of_any_width_is_quickened(channels: int) -> None:
    from services.engine.vae.fused_norms import norm_and_silu  # noqa: PLC0415

    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(8, channels).cuda()
    pixels = torch.randn(2, channels, 16, 24, device="cuda")

    with torch.inference_mode():
        quick = norm_and_silu(norm)(pixels)
        plain = torch.nn.functional.silu(norm(pixels))

    assert relative_error(quick, plain) < BF16_ERROR_MAX


def test_a_replayed_step_is_the_launched_one() -> None:
    from services.engine.mmdit.arithmetic import Arithmetic  # noqa: PLC0415
    from services.engine.mmdit.backends import Backend  # noqa: PLC0415
    from services.engine.mmdit.mmdit import Mmdit  # noqa: PLC0415
    from services.engine.mmdit.steps import GraphedSteps, StepInputs, take_step  # noqa: PLC0415
    from tests.integration.services.engine.mmdit.small_transformers import (  # noqa: PLC0415
        small_transformer,
    )

    model = Mmdit(
        small_transformer(dual_attention_layers=(0, 1)),
        device=torch.device("cuda"),
        dtype=torch.bfloat16,
        arithmetic=Arithmetic(backend=Backend.SCALED_MM),
    )
    conditioning = model.condition(
        tokens=random(2, 21, 192), pooled=random(2, 160), timesteps=torch.ones(1, device="cuda")
    )
    steps = GraphedSteps(model)

    for seed in range(4):
        torch.manual_seed(seed)
        inputs = StepInputs(
            latents=torch.randn(1, 16, 16, 16, device="cuda"),
            modulation=conditioning.modulation,
            context=conditioning.context[None],
            guidance=torch.full((1,), 3.0, device="cuda"),
            sigma_change=torch.full((1,), -0.1, device="cuda"),
        )
        assert relative_error(steps.take(inputs), take_step(model, inputs)) < 1e-3
