"""`atelier invoices …`."""

from pathlib import Path

import click

from atelier.billing_calls import RUNNING_PERIOD
from atelier.cli.columns import INVOICE_COLUMNS, LINE_COLUMNS
from atelier.cli.session import Session, in_session
from atelier.v1.billing_service_pb2 import InvoiceFileKind


@click.group()
def invoices() -> None:
    """Read invoices; `current` is the running period's draft."""


@invoices.command("list")
@in_session
def list_(session: Session) -> None:
    """List invoices, newest first."""
    with session.open_client() as client:
        session.output.show_many(list(client.list_invoices()), INVOICE_COLUMNS)


@invoices.command("get")
@click.argument("invoice", default=RUNNING_PERIOD)
@in_session
def get(session: Session, *, invoice: str) -> None:
    """Show an invoice by its period, such as 2026-11."""
    with session.open_client() as client:
        found = client.get_invoice(invoice)
    if not session.output.is_json:
        session.output.show_many(found.lines, LINE_COLUMNS)
        click.echo()
    session.output.show_one(found, INVOICE_COLUMNS)


@invoices.command("download")
@click.argument("invoice", default=RUNNING_PERIOD)
@click.option(
    "--kind",
    type=click.Choice(["pdf", "csv", "parquet", "focus"]),
    help="PDF unless --output ends in .csv or .parquet.",
)
@click.option(
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Which file; the server names it unless given.",
)
@in_session
def download(session: Session, *, invoice: str, kind: str | None, path: Path | None) -> None:
    """Save an invoice as a file."""
    ending = path.suffix.lower().removeprefix(".") if path is not None else ""
    by_name = ending if ending in {"csv", "parquet"} else "pdf"
    file_kind = InvoiceFileKind.Value(f"INVOICE_FILE_KIND_{(kind or by_name).upper()}")
    with session.open_client() as client:
        file = client.download_invoice(invoice, file_kind=file_kind)
    target = path or Path(Path(file.file_name).name)
    target.write_bytes(file.data)
    if session.output.is_json:
        session.output.show_json({"path": str(target), "content_type": file.content_type})
    else:
        click.echo(target)
