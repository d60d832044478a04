"""Bar charts as geometry; a template draws them as SVG. Pure.

Places along the width are percentages and heights are pixels, so that a chart fits any screen while
its letters keep their size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

HEIGHT_PIXELS: Final = 160
_TOP_PIXELS: Final = 18
_BASE_PIXELS: Final = 138
# Of a bar's place, the part that is bar.
_FILLED: Final = 0.72
_STEPS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_LABELS_MAX: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar, what it says when pointed at, and the label below it (empty: none)."""

    x_percent: float
    width_percent: float
    y_pixels: float
    height_pixels: float
    middle_percent: float
    title: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line across the chart with its value."""

    y_pixels: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """Everything a template needs."""

    title: str
    bars: Sequence[Bar]
    lines: Sequence[Line]
    height_pixels: int = HEIGHT_PIXELS
    base_pixels: int = _BASE_PIXELS

    @property
    def is_empty(self) -> bool:
        return all(bar.height_pixels == 0 for bar in self.bars)


def bar_chart(
    title: str,
    values: Sequence[tuple[str, float]],
    *,
    write: Callable[[float], str],
    short_label: Callable[[str], str] = str,
) -> BarChart:
    """Lay bars out; ``write`` gives a value its unit."""
    top = _round_above(max((value for _, value in values), default=0.0))
    place = 100.0 / max(1, len(values))
    every = -(-len(values) // _LABELS_MAX) if values else 1
    bars = [
        _bar(
            place * index,
            place,
            share=value / top if top else 0.0,
            title=f"{name}: {write(value)}",
            label=short_label(name) if index % every == 0 else "",
        )
        for index, (name, value) in enumerate(values)
    ]
    shares = (1.0, 0.5) if top else ()
    lines = [Line(y_pixels=_y(share), text=write(top * share)) for share in shares]
    return BarChart(title=title, bars=bars, lines=lines)


def _bar(start: float, place: float, *, share: float, title: str, label: str) -> Bar:
    height = round(_BASE_PIXELS - _y(share), 1)
    # What is there at all is seen.
    height = max(height, 1.5) if share > 0 else 0.0
    return Bar(
        x_percent=round(start + place * (1 - _FILLED) / 2, 3),
        width_percent=round(place * _FILLED, 3),
        y_pixels=round(_BASE_PIXELS - height, 1),
        height_pixels=height,
        middle_percent=round(start + place / 2, 3),
        title=title,
        label=label,
    )


def _y(share: float) -> float:
    return round(_BASE_PIXELS - share * (_BASE_PIXELS - _TOP_PIXELS), 1)


def _round_above(value: float) -> float:
    """Return the next round number, so that lines say something simple."""
    if value <= 0:
        return 0.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(step * power for step in _STEPS if step * power >= value * 0.999999)
