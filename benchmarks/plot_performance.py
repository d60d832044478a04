"""Draw the plots of docs/performance.md from the plan and from the result files.

    python benchmarks/plot_performance.py

`docs/images/memory-plan.png`: what lies on the card when one image of 1024×1024 is drawn, part by
part, against the memory of cards. `docs/images/engine-on-gpu.png`: seconds and joules per image of
every row in `results/engine_on_gpu*.json`; left out while there is no such file.
"""

# matplotlib is half-typed.
# pyright: standard

import json
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
from matplotlib.figure import Figure

ROOT: Final = Path(__file__).resolve().parents[1]
IMAGES: Final = ROOT / "docs" / "images"
RESULTS: Final = ROOT / "benchmarks" / "results"
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


def main() -> None:
    """Write every plot there is data for."""
    plot_memory(IMAGES / "memory-plan.png")
    rows: list[dict[str, Any]] = [
        row
        for path in sorted(RESULTS.glob("engine_on_gpu*.json"))
        for row in json.loads(path.read_text())["rows"]
    ]
    if rows:
        plot_rows(rows, IMAGES / "engine-on-gpu.png")


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


def plot_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds and joules per image."""
    labels = [f"{row['model']} {row['width']}² b{row['batch']}, {row['backend']}" for row in rows]
    figure, both = plt.subplots(
        1, 2, figsize=(12, 1 + 0.28 * len(rows)), sharey=True, constrained_layout=True
    )
    for axes, field in zip(both, ("seconds_per_image", "joules_per_image"), strict=True):
        axes.barh(labels, [row[field] or 0.0 for row in rows])
        axes.set_xlabel(field.replace("_", " "))
    # The two share their axis.
    both[0].invert_yaxis()
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Small enough for a repository."""
    figure.savefig(path, dpi=100)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
