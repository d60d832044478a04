from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from metering.largest_remainder import divide

weights = st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=20)


def test_the_largest_remainders_are_rounded_up() -> None:
    assert divide(10, [1.0, 1.0, 1.0]) == [4, 3, 3]
    assert divide(100, [5.0, 3.0, 1.0]) == [56, 33, 11]


def test_weights_that_are_all_zero_mean_equal_parts() -> None:
    assert divide(7, [0.0, 0.0]) == [4, 3]


def test_a_weight_of_zero_gets_nothing_beside_a_positive_one() -> None:
    assert divide(1_000_003, [0.0, 2.5]) == [0, 1_000_003]


@given(total=st.integers(min_value=0, max_value=10**15), weights=weights)
def test_the_parts_add_up_to_the_whole_and_none_is_negative(
    total: int, weights: list[float]
) -> None:
    parts = divide(total, weights)

    assert sum(parts) == total
    assert min(parts) >= 0


@given(
    total=st.integers(min_value=0, max_value=10**9),
    weights=st.lists(st.integers(min_value=1, max_value=1000), min_size=1, max_size=12),
)
def test_every_part_lies_within_one_unit_of_its_exact_share(total: int, weights: list[int]) -> None:
    parts = divide(total, [float(weight) for weight in weights])

    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < Fraction(1001, 1000)
