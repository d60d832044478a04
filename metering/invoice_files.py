"""An invoice as a file of one of four kinds; all say the same total."""

from dataclasses import asdict
from decimal import Decimal
from enum import StrEnum
from typing import Final

from metering.focus import FOCUS_COLUMNS, invoice_rows
from metering.invoice_csv import INVOICE_CSV_COLUMNS, invoice_csv_rows, render_invoice_csv
from metering.invoice_document import Invoice
from metering.invoice_pdf import render_invoice_pdf
from metering.table_files import Cell, ColumnType, CsvWriter, ParquetWriter, Row, TableColumn


class InvoiceFileKind(StrEnum):
    """The value is the end of the file's name."""

    PDF = "pdf"
    CSV = "csv"
    PARQUET = "parquet"
    FOCUS = "focus.csv"


CONTENT_TYPES: Final = {
    InvoiceFileKind.PDF: "application/pdf",
    InvoiceFileKind.CSV: "text/csv",
    InvoiceFileKind.PARQUET: "application/vnd.apache.parquet",
    InvoiceFileKind.FOCUS: "text/csv",
}
_DECIMALS: Final = frozenset({"consumed_quantity", "list_unit_price", "billed_cost"})
_INTEGERS: Final = frozenset({"line_number", "image_count"})


def render_invoice(invoice: Invoice, kind: InvoiceFileKind) -> bytes:
    """Set or write an invoice; takes a tenth of a second of one core at most."""
    match kind:
        case InvoiceFileKind.PDF:
            return render_invoice_pdf(invoice)
        case InvoiceFileKind.CSV:
            return render_invoice_csv(invoice)
        case InvoiceFileKind.PARQUET:
            return _parquet(invoice)
        case InvoiceFileKind.FOCUS:
            writer = CsvWriter(FOCUS_COLUMNS)
            return writer.write(list(invoice_rows(invoice))) + writer.finish()


def _parquet(invoice: Invoice) -> bytes:
    """The columns of the CSV, the numbers among them as numbers."""
    rows = [asdict(row) for row in invoice_csv_rows(invoice)]
    writer = ParquetWriter([_column(name) for name in INVOICE_CSV_COLUMNS])
    return writer.write([_typed(row) for row in rows]) + writer.finish()


def _column(name: str) -> TableColumn:
    if name in _DECIMALS:
        return TableColumn(name=name, column_type=ColumnType.DECIMAL)
    if name in _INTEGERS:
        return TableColumn(name=name, column_type=ColumnType.INTEGER)
    return TableColumn(name=name)


def _typed(row: dict[str, str]) -> Row:
    return {name: _cell(name, text) for name, text in row.items()}


def _cell(name: str, text: str) -> Cell:
    if name in _DECIMALS:
        return Decimal(text) if text else None
    if name in _INTEGERS:
        return int(text) if text else None
    return text
