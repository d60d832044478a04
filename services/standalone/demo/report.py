"""What the demo leaves and shows: summary.json and two tables."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from metering.energy_hours import HourReconciliation
from services.standalone.demo import shop
from services.standalone.demo.checks import TenantResult
from services.standalone.demo.drawn_image import DrawnImage

_NANOS_PER_UNIT = 1_000_000_000
_MILLIJOULES_PER_JOULE = 1000
_PROMPT_LENGTH_MIN = 12
# The table without the prompts, at most.
_OTHER_COLUMNS_WIDTH = 78


def write_summary(
    path: Path, images: Sequence[DrawnImage], picture_paths: Mapping[str, str]
) -> None:
    """Write one entry per image; paths are relative to the repository's root."""
    entries = [
        {
            "tenant": image.tenant,
            "job": image.job,
            "image": image.image,
            "path": picture_paths.get(image.name, ""),
            "prompt": image.prompt,
            "seed": image.seed,
            "seconds": round(image.seconds, 3),
            "energy_millijoules": image.energy_millijoules,
            "energy_source": image.energy_source,
            "price_nanos": image.price_nanos,
            "currency": image.currency,
            "attempt": image.attempt,
        }
        for image in images
    ]
    path.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")


def show_images(console: Console, results: Sequence[TenantResult]) -> None:
    """Print every image with seconds, joules and price, and each studio's sum."""
    table = _table("What was drawn, and what it cost")
    for heading in ("studio", "image"):
        table.add_column(heading, no_wrap=True)
    # Up to 20 digits; where the terminal is narrow they give way, and summary.json has them all.
    table.add_column("seed", justify="right", overflow="ellipsis")
    for heading in ("seconds", "joules"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("source", no_wrap=True)
    table.add_column(f"price {shop.CURRENCY}", justify="right", no_wrap=True)
    prompt_length = max(_PROMPT_LENGTH_MIN, console.width - _OTHER_COLUMNS_WIDTH)
    for result in results:
        for image in result.images:
            table.add_row(
                image.tenant,
                _shortened(image.prompt, prompt_length),
                str(image.seed),
                f"{image.seconds:.2f}",
                joules(image.energy_millijoules),
                image.energy_source,
                money(image.price_nanos),
            )
        _add_sum(table, result)
    console.print(table)


def show_energy(console: Console, energy: Sequence[HourReconciliation]) -> None:
    """Print where each device's joules went; the residual is what nobody was booked for."""
    table = _table("Where the joules went")
    for heading in ("device", "source"):
        table.add_column(heading, no_wrap=True)
    for heading in ("counter", "images", "overhead", "idle", "load", "unknown", "residual"):
        table.add_column(heading, justify="right", no_wrap=True)
    for hour in energy:
        table.add_row(
            hour.gpu_id,
            hour.sources,
            joules(hour.counter_millijoules),
            joules(hour.images_millijoules),
            joules(hour.overhead_millijoules + hour.in_progress_millijoules),
            joules(hour.idle_millijoules),
            joules(hour.load_millijoules),
            joules(hour.unknown_millijoules),
            joules(hour.residual_millijoules),
        )
    console.print(table)


def _table(title: str) -> Table:
    """Make a table that fits a terminal of 80 columns."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )


def money(nanos: int) -> str:
    """Write an amount exactly, to the last nano."""
    return f"{Decimal(nanos) / _NANOS_PER_UNIT:.9f}"


def joules(millijoules: int) -> str:
    """Write millijoules as joules, exactly."""
    return f"{Decimal(millijoules) / _MILLIJOULES_PER_JOULE:.3f}"


def _shortened(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else f"{text[: length_max - 1]}…"


def _add_sum(table: Table, result: TenantResult) -> None:
    images = result.images
    table.add_row(
        result.tenant_id,
        f"{len(images)} images",
        "",
        f"{sum(image.seconds for image in images):.2f}",
        joules(sum(image.energy_millijoules for image in images)),
        "",
        money(result.price_nanos),
        style="bold",
        end_section=True,
    )
