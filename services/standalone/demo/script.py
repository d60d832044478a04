"""The demo's course, from empty tables to two invoices."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.standalone.demo import shop
from services.standalone.demo.books import Books, read_books
from services.standalone.demo.campaign import Campaign
from services.standalone.demo.checks import TenantResult, findings
from services.standalone.demo.drawn_image import DrawnImage
from services.standalone.demo.errors import DemoFailedError
from services.standalone.demo.gateway_client import (
    InvoiceSums,
    available_nanos,
    open_shop,
    save_invoice,
)
from services.standalone.demo.report import money, show_energy, show_images, write_summary
from services.standalone.settings import REPOSITORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo plays."""

    address: str
    operator_key: str
    operator_database_url: str
    csv_path: Path
    output: Path
    console: Console


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    images: list[DrawnImage]
    paths: dict[str, Path]
    invoice: InvoiceSums
    available_nanos: int


def play(stage: Stage) -> None:
    """Open the shop, draw both campaigns at once, bill them, show and check the result.

    Raises:
        DemoFailedError: something did not succeed or does not add up.
    """
    _clear(stage.output)
    keys = open_shop(stage.address, stage.operator_key)
    campaigns = [
        Campaign(tenant_id=tenant_id, key=key, address=stage.address, csv_path=stage.csv_path)
        for tenant_id, key in keys.items()
    ]
    drawn = dict(zip(keys, _draw_all(stage, campaigns), strict=True))
    books = read_books(stage.operator_database_url, list(keys))
    results = [_result(tenant_id, one, books) for tenant_id, one in drawn.items()]
    _write_summary(stage, list(drawn.values()))
    show_images(stage.console, results)
    show_energy(stage.console, books.energy)
    _check(stage, results, books)


def _clear(output: Path) -> None:
    """Remove an earlier demo's files, and nothing else that may lie there."""
    for studio in shop.STUDIOS:
        shutil.rmtree(output / studio.tenant_id, ignore_errors=True)
    (output / "summary.json").unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)


def _draw_all(stage: Stage, campaigns: Sequence[Campaign]) -> list[_Drawn]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        Progress(*columns, console=stage.console) as progress,
        ThreadPoolExecutor(len(campaigns)) as threads,
    ):
        drawing = [threads.submit(_draw, stage, campaign, progress) for campaign in campaigns]
        return [one.result() for one in drawing]


def _draw(stage: Stage, campaign: Campaign, progress: Progress) -> _Drawn:
    job = campaign.order()
    bar = progress.add_task(campaign.tenant_id, total=None)
    told = -1

    def tell(drawn: float, finished: int, count: int) -> None:
        nonlocal told
        progress.update(bar, completed=round(drawn, 1), total=count)
        # Where no bar can be drawn, such as in a log, a line per picture tells the same.
        if finished != told and not stage.console.is_terminal:
            stage.console.print(f"{campaign.tenant_id}: {finished} of {count} pictures")
        told = finished

    images = campaign.follow(job, tell=tell)
    folder = stage.output / campaign.tenant_id
    return _Drawn(
        images=images,
        paths=campaign.fetch(images, folder),
        invoice=save_invoice(stage.address, campaign.key, folder),
        available_nanos=available_nanos(stage.address, campaign.key),
    )


def _result(tenant_id: str, drawn: _Drawn, books: Books) -> TenantResult:
    return TenantResult(
        tenant_id=tenant_id,
        images=drawn.images,
        captured_nanos=books.captured_nanos[tenant_id],
        invoice_before_tax_nanos=drawn.invoice.before_tax_nanos,
        credit_nanos=shop.CREDIT_NANOS,
        available_nanos=drawn.available_nanos,
    )


def _write_summary(stage: Stage, drawn: Sequence[_Drawn]) -> None:
    write_summary(
        stage.output / "summary.json",
        [image for one in drawn for image in one.images],
        {name: _shown(path) for one in drawn for name, path in one.paths.items()},
    )


def _check(stage: Stage, results: Sequence[TenantResult], books: Books) -> None:
    if wrong := findings(results, books.energy):
        raise DemoFailedError(
            "The demo does not add up:\n" + "\n".join(f"  {one}" for one in wrong)
        )
    for result in results:
        stage.console.print(
            f"[green]✓[/green] {result.tenant_id}: {len(result.images)} prices = captures = "
            f"invoice before tax = {money(result.price_nanos)} {shop.CURRENCY}"
        )
    stage.console.print("[green]✓[/green] every joule of the counters is booked: residual 0 mJ")


def _shown(path: Path) -> str:
    """Write a path from the repository's root, or in full where it lies elsewhere."""
    resolved = path.resolve()
    return str(resolved.relative_to(REPOSITORY) if REPOSITORY in resolved.parents else resolved)
