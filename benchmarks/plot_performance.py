"""Draw the plots of docs/performance.md from the plan and from the result files.

    python benchmarks/plot_performance.py

`docs/images/memory-plan.png`: what lies on the card when one image of 1024×1024 is drawn, part by
part, against the memory of cards. `docs/images/engine-on-gpu.png`: seconds and joules per image of
every row in `results/engine_on_gpu*.json` of one card. `docs/images/pace-on-gpu.png`
and `heat-on-gpu.png`: steps, watts, clock and temperature under a duty cycle and under a limit of
temperature, from `results/service_on_gpu_pace*.json` and `service_on_gpu_heat*.json`. Plots without
a file are left out.
"""

# matplotlib is half-typed.
# pyright: standard

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from services.engine.memory_plan import (
    CONTEXT_BYTES,
    GB,
    MEMORY_RESERVE_BYTES,
    WORKSPACE_BYTES,
    MemoryPlan,
    PlanRequest,
    make_plan,
    native_key,
)
from services.engine.model_outline import known_outline
from services.engine.residence import Residence

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT: Final = Path(__file__).resolve().parents[1]
IMAGES: Final = ROOT / "docs" / "images"
RESULTS: Final = ROOT / "benchmarks" / "results"
# Bars of two cards side by side would compare the cards.
CARD: Final = "NVIDIA H200"
LARGE: Final = "stabilityai/stable-diffusion-3.5-large"
CARDS_GB: Final = (16, 24, 48)
# As if there were no bound: the plot shows what is needed.
ENOUGH_BYTES: Final = 1000 * GB
RESIDENT, OFFLOADED = Residence.RESIDENT, Residence.OFFLOADED
WAYS: Final = {
    "bf16, all resident": ("none", RESIDENT, RESIDENT),
    "FP8, all resident": ("scaled_mm", RESIDENT, RESIDENT),
    "FP8, encoders offloaded": ("scaled_mm", OFFLOADED, RESIDENT),
    "FP8, encoders and\nmodulation offloaded": ("scaled_mm", OFFLOADED, OFFLOADED),
}

QUANTITIES: Final = {
    "seconds_per_image": "seconds per image",
    "joules_per_image": "joules per image",
}
# As the result files name them, in the order of the bars.
CANDIDATES: Final = {
    "diffusers eager bfloat16": "diffusers, bf16",
    "diffusers + compile bfloat16": "diffusers + compile, bf16",
    "none": "ours, bf16",
    "weight_storage": "ours, FP8 weight_storage",
    "transformer_engine": "ours, FP8 transformer_engine",
    "scaled_mm": "ours, FP8 scaled_mm",
}


def main() -> None:
    """Write every plot there is data for."""
    plot_memory(IMAGES / "memory-plan.png")
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("engine_on_gpu*.json"))]
    rows = [row for result in results if result["device"] == CARD for row in result["rows"]]
    if rows:
        plot_rows(rows, IMAGES / "engine-on-gpu.png")
    for part in ("pace", "heat"):
        for path in RESULTS.glob(f"service_on_gpu_{part}*.json"):
            plot_pace(json.loads(path.read_text()), part, IMAGES / f"{part}-on-gpu.png")


def plot_memory(path: Path) -> None:
    """One bar per way of keeping the model."""
    figure, axes = plt.subplots(figsize=(9, 4), constrained_layout=True)
    lefts = [0.0] * len(WAYS)
    plans = [plan_for(*way) for way in WAYS.values()]
    for name, amounts in parts(plans).items():
        axes.barh(list(WAYS), amounts, left=lefts, label=name)
        lefts = [left + amount for left, amount in zip(lefts, amounts, strict=True)]
    for card in CARDS_GB:
        axes.axvline(card, color="#444", linestyle=":", linewidth=1)
        axes.text(card, -0.5, f"{card} GB", ha="center", fontsize=8)
    axes.set_xlabel("GB, Large, four images of 1024×1024 in a step, decoded one at a time")
    axes.legend(fontsize=7, loc="center right")
    axes.set_xlim(right=52)
    axes.invert_yaxis()
    save(figure, path)


def plan_for(backend: str, text_encoders: Residence, modulation: Residence) -> MemoryPlan:
    """Of the large model."""
    outline = known_outline(LARGE)
    assert outline is not None
    return make_plan(
        PlanRequest(
            outline=outline,
            free_bytes=ENOUGH_BYTES,
            backend=backend,
            text_encoders=text_encoders,
            modulation=modulation,
        )
    )


def parts(plans: list[MemoryPlan]) -> dict[str, list[float]]:
    """GB of each part, plan by plan."""
    key = native_key(plans[0].request.outline)
    return {
        "transformer": [plan.transformer_bytes / GB for plan in plans],
        "text encoders": [plan.encoders_bytes / GB for plan in plans],
        "VAE": [plan.vae_bytes / GB for plan in plans],
        "steps or decoding": [
            max(4 * plan.image_bytes(key), plan.decode_bytes(key)) / GB for plan in plans
        ],
        "workspace and driver": [(WORKSPACE_BYTES + CONTEXT_BYTES) / GB for _ in plans],
        "kept free": [MEMORY_RESERVE_BYTES / GB for _ in plans],
    }


def plot_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Bars by shape, coloured by candidate: seconds above, joules below, a column per model."""
    models = sorted({str(row["model"]) for row in rows})
    figure, axes = plt.subplots(
        2, len(models), figsize=(5.5 * len(models), 7), squeeze=False, constrained_layout=True
    )
    for column, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        for line, (quantity, label) in enumerate(QUANTITIES.items()):
            plot_quantity(axes[line][column], own, quantity)
            axes[line][column].set_ylabel(label)
        axes[0][column].set_title(f"{model.capitalize()} on one {CARD}")
    axes[0][0].legend(fontsize=8)
    save(figure, path)


def plot_quantity(axes: Any, rows: Sequence[Mapping[str, Any]], quantity: str) -> None:  # noqa: ANN401
    """One group of bars per shape; the first file that measured a candidate is shown."""
    shapes = sorted({(int(row["width"]), int(row["batch"])) for row in rows}, reverse=True)
    names = [name for name in CANDIDATES if any(row["backend"] == name for row in rows)]
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        found = [(shape, value_of(rows, name, shape, quantity)) for shape in shapes]
        places = [shapes.index(shape) + number * width for shape, value in found if value]
        values = [value for _, value in found if value]
        colour = f"C{list(CANDIDATES).index(name)}"
        axes.bar(places, values, width, label=CANDIDATES[name], color=colour)
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(shapes))])
    axes.set_xticklabels([f"{size}², batch of {batch}" for size, batch in shapes], fontsize=8)


def value_of(
    rows: Sequence[Mapping[str, Any]], backend: str, shape: tuple[int, int], quantity: str
) -> float | None:
    """What was measured of one candidate in one shape, if it was."""
    for row in rows:
        if row["backend"] == backend and (row["width"], row["batch"]) == shape:
            return row[quantity]
    return None


def plot_pace(result: Mapping[str, Any], part: str, path: Path) -> None:
    """What the card did in each second of a load, and how many steps it took."""
    pace = result[part]
    seconds = [row["seconds"] for row in pace["sensors"]]
    rates = pace["steps_per_second_by_window"]
    window_seconds = pace["seconds"] / len(rates)
    figure, (steps, watts, clock, heat) = plt.subplots(
        4, 1, figsize=(9, 8), sharex=True, constrained_layout=True
    )
    steps.stairs(rates, [number * window_seconds for number in range(len(rates) + 1)])
    steps.set_ylabel("steps per second")
    steps.set_ylim(bottom=0)
    asked, kept = 100 * pace["duty_cycle_max"], 100 * pace["duty_cycle_measured"]
    steps.set_title(
        f"{result['card']}: {asked:.0f} % asked for, {kept:.1f} % measured by the meter",
        fontsize=10,
    )
    watts.plot(seconds, [row["power_watts"] for row in pace["sensors"]], color="C1")
    watts.set_ylabel("watts")
    watts.set_ylim(bottom=0)
    clock.plot(seconds, [row.get("clock_megahertz") for row in pace["sensors"]], color="C2")
    clock.set_ylabel("MHz")
    clock.set_ylim(bottom=0)
    shade_throttling(clock, pace["sensors"])
    heat.plot(seconds, [row["temperature_celsius"] for row in pace["sensors"]], color="C3")
    heat.set_ylabel("°C")
    if limit := pace.get("temperature_celsius_max"):
        heat.axhline(limit, color="0.5", linestyle="--", label="limit")
        heat.legend(loc="lower right", fontsize=8)
    heat.set_xlabel("seconds")
    save(figure, path)


def shade_throttling(axes: Axes, sensors: Sequence[Mapping[str, Any]]) -> None:
    """Grey where the card said why it runs slower than it could; the legend says why."""
    shown: set[str] = set()
    for row, following in pairwise(sensors):
        if reasons := ", ".join(row["throttle_reasons"]):
            label = None if reasons in shown else reasons
            shown.add(reasons)
            axes.axvspan(row["seconds"], following["seconds"], color="0.85", label=label)
    if shown:
        axes.legend(loc="lower right", fontsize=8)


def save(figure: Figure, path: Path) -> None:
    """Small enough for a repository."""
    figure.savefig(path, dpi=100)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
