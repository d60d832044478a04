"""One linear layer, in FP8 or packed: how near it comes, and that rows leave one another alone."""

import pytest
import torch
from torch.nn.functional import gelu, linear

from services.engine.closeness import relative_error, signal_to_noise_db
from services.engine.mmdit.backends import Backend
from services.engine.mmdit.linears.making import Linear, LinearMaker
from services.engine.mmdit.linears.packed import PackedLinear, can_be_packed
from services.engine.mmdit.linears.plain import PlainLinear
from services.engine.mmdit.linears.scaled_mm import ScaledMmLinear, with_empty_rows
from services.engine.mmdit.quantised_rows import quantise_rows

FP8_ON_CPU = [Backend.SCALED_MM, Backend.WEIGHT_STORAGE]
# E4M3 has three bits of mantissa: 31.8 dB for weights or activations alone, 28.7 for both.
SQNR_MIN_DB = {Backend.SCALED_MM: 28.0, Backend.WEIGHT_STORAGE: 31.0}


def random_layer(backend: Backend) -> tuple[Linear, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(320, 192, generator=generator) * 0.05
    bias = torch.randn(320, generator=generator) * 0.01
    return LinearMaker(backend).make(weight, bias), weight, bias


@pytest.mark.parametrize("backend", FP8_ON_CPU)
def test_a_layer_keeps_the_signal_to_noise_that_e4m3_allows(backend: Backend) -> None:
    layer, weight, bias = random_layer(backend)
    rows = torch.randn(64, 192, generator=torch.Generator().manual_seed(8))

    given = layer(rows)

    assert signal_to_noise_db(given, linear(rows, weight, bias)) > SQNR_MIN_DB[backend]


@pytest.mark.parametrize("backend", FP8_ON_CPU)
def test_an_outlier_in_one_row_costs_no_other_row(backend: Backend) -> None:
    layer, _, _ = random_layer(backend)
    rows = torch.randn(64, 192, generator=torch.Generator().manual_seed(8))
    without = layer(rows)
    rows[3, 5] = 1e4

    given = layer(rows)

    others = [row for row in range(64) if row != 3]
    assert torch.equal(given[others], without[others])


def test_quantised_rows_come_back_within_a_sixteenth_and_zeros_stay_zeros() -> None:
    rows = torch.randn(16, 64, generator=torch.Generator().manual_seed(9))
    rows[4] = 0.0

    back = quantise_rows(rows).dequantised(torch.float32)

    assert torch.all(back[4] == 0.0)
    large = rows.abs() > rows.abs().amax(dim=-1, keepdim=True) / 64
    assert torch.all(((back - rows).abs() <= rows.abs() / 16)[large])


def test_an_fp8_layer_keeps_half_of_what_a_sixteen_bit_one_keeps() -> None:
    weight, bias = torch.zeros(320, 192, dtype=torch.bfloat16), torch.zeros(320)

    plain = LinearMaker(Backend.NONE).make(weight, bias)
    stored = LinearMaker(Backend.WEIGHT_STORAGE).make(weight, bias)

    assert plain.resident_bytes == 2 * 320 * 192 + 4 * 320
    assert stored.resident_bytes == 320 * 192 + 4 * 320 + 4 * 320


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cpus_product_is_the_fp8_product(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(7)
    layer = ScaledMmLinear(
        (torch.randn(64, 192, generator=generator) * 0.05).to(dtype),
        torch.randn(64, generator=generator).to(dtype),
    )
    rows = quantise_rows(torch.randn(48, 192, generator=generator))

    given, fp8 = layer(rows), layer.multiply(rows)

    assert given.dtype is dtype
    assert relative_error(given, fp8) < (1e-6 if dtype is torch.float32 else 0.004)


def test_rows_that_fill_up_a_product_change_nothing() -> None:
    rows = quantise_rows(torch.randn(5, 32, generator=torch.Generator().manual_seed(7)))

    filled = with_empty_rows(rows, 16)

    assert filled.values.shape == (16, 32)
    assert torch.equal(filled.dequantised(torch.float32)[:5], rows.dequantised(torch.float32))
    assert torch.all(filled.dequantised(torch.float32)[5:] == 0.0)


def random_packed_layer() -> tuple[PackedLinear, torch.Tensor, torch.Tensor]:
    layer, weight, bias = random_layer(Backend.NONE)
    assert isinstance(layer, PackedLinear)
    return layer, weight, bias


@torch.inference_mode()
def test_a_packed_layer_is_the_plain_one_in_another_order_of_adding() -> None:
    layer, weight, bias = random_packed_layer()
    rows = torch.randn(70, 192, generator=torch.Generator().manual_seed(8))

    given, with_gelu = layer(rows), layer.with_gelu(rows)

    expected = linear(rows, weight, bias)
    assert relative_error(given, expected) < 1e-6
    assert relative_error(with_gelu, gelu(expected, approximate="tanh")) < 1e-6
    assert layer.resident_bytes == 4 * (320 * 192 + 320)


@torch.inference_mode()
@pytest.mark.parametrize("count", [1, 2, 77, 308, 512, 820])
def test_a_packed_layer_gives_a_row_the_same_up_to_rounding_in_any_company(count: int) -> None:
    layer, _, _ = random_packed_layer()
    rows = torch.randn(4096, 192, generator=torch.Generator().manual_seed(8))
    in_company = layer.with_gelu(rows)

    alone = layer.with_gelu(rows[:count])

    assert torch.allclose(alone, in_company[:count], rtol=0.0, atol=1e-5)


def test_other_types_than_float32_stay_plain() -> None:
    weight, bias = torch.zeros(320, 192, dtype=torch.bfloat16), torch.zeros(320)

    layer = LinearMaker(Backend.NONE).make(weight, bias)

    assert not can_be_packed(weight)
    assert isinstance(layer, PlainLinear)
