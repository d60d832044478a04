from hypothesis import given
from hypothesis import strategies as st

from services.console.charts import bar_chart


def write(value: float) -> str:
    return f"{value:g} images"


def test_the_highest_bar_stays_below_a_round_line_that_says_its_value() -> None:
    chart = bar_chart("Images", [("Mon", 9.0), ("Tue", 0.0)], write=write)

    assert [line.text for line in chart.lines] == ["10 images", "5 images"]
    assert chart.bars[0].title == "Mon: 9 images"
    assert chart.bars[1].height_pixels == 0


def test_a_chart_without_values_is_empty() -> None:
    assert bar_chart("Images", [("Mon", 0.0)], write=write).is_empty
    assert bar_chart("Images", [], write=write).is_empty


# Nothing that is counted here is finer than a billionth.
VALUES = st.one_of(st.just(0.0), st.floats(min_value=1e-9, max_value=1e12))


@given(st.lists(VALUES, min_size=1, max_size=60))
def test_every_bar_lies_within_its_chart_and_what_is_there_is_seen(values: list[float]) -> None:
    chart = bar_chart("x", [(str(i), value) for i, value in enumerate(values)], write=write)

    for bar, value in zip(chart.bars, values, strict=True):
        assert 0 <= bar.x_percent <= bar.x_percent + bar.width_percent <= 100.001
        assert 0 <= bar.y_pixels <= chart.base_pixels
        assert (bar.height_pixels > 0) == (value > 0)
