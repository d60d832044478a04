"""Tables as files: what is written is read again exactly, in portions and at once."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]

from metering.invoice_files import InvoiceFileKind, render_invoice
from metering.table_files import ColumnType, CsvWriter, ParquetWriter, Row, TableColumn
from tests.unit.metering.sample_invoices import finalized_invoice

COLUMNS = (
    TableColumn(name="name"),
    TableColumn(name="count", column_type=ColumnType.INTEGER),
    TableColumn(name="cost", column_type=ColumnType.DECIMAL, nullable=False),
    TableColumn(name="at", column_type=ColumnType.TIME),
)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def row(name: str | None = "mug", cost: str = "0.1") -> Row:
    return {"name": name, "count": 3, "cost": Decimal(cost), "at": NOON}


def read(data: bytes) -> Any:
    library: Any = parquet
    return library.read_table(io.BytesIO(data))


def written(rows: Sequence[Row], *, portion: int) -> bytes:
    writer = ParquetWriter(COLUMNS)
    parts = [writer.write(rows[at : at + portion]) for at in range(0, len(rows), portion)]
    return b"".join(parts) + writer.finish()


def test_csv_has_a_header_plain_decimals_and_times_in_utc() -> None:
    writer = CsvWriter(COLUMNS)

    data = writer.write([row()]) + writer.write([row(None, "-0.000000001")]) + writer.finish()

    assert data.decode().splitlines() == [
        "name,count,cost,at",
        "mug,3,0.1,2026-11-24T12:00:00Z",
        ",3,-0.000000001,2026-11-24T12:00:00Z",
    ]


@pytest.mark.parametrize("words", ["=1+1", "+1", "-1", "@SUM(1)"])
def test_no_text_of_a_csv_is_a_formula(words: str) -> None:
    writer = CsvWriter(COLUMNS)

    assert writer.write([row(words)]).decode().splitlines()[1].startswith(f"'{words}")


@given(
    costs=st.lists(
        st.integers(-(2**63), 2**63 - 1).map(lambda nanos: Decimal(nanos).scaleb(-9)), max_size=9
    ),
    portion=st.integers(1, 4),
)
def test_parquet_holds_every_amount_exactly_whatever_the_portions(
    costs: list[Decimal], portion: int
) -> None:
    rows: list[Row] = [{"name": "x", "count": 1, "cost": cost, "at": NOON} for cost in costs]

    table = read(written(rows, portion=portion))

    assert str(table.schema.field("cost").type) == "decimal128(38, 15)"
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"
    assert table.column("cost").to_pylist() == costs


def test_an_empty_parquet_file_has_its_columns() -> None:
    table = read(written([], portion=1))

    assert (table.num_rows, table.column_names) == (0, ["name", "count", "cost", "at"])


def test_an_invoice_says_the_same_total_as_csv_parquet_and_focus() -> None:
    invoice = finalized_invoice()
    total = Decimal(invoice.total_nanos).scaleb(-9)

    table = read(render_invoice(invoice, InvoiceFileKind.PARQUET))
    lines = render_invoice(invoice, InvoiceFileKind.CSV).decode().splitlines()

    assert sum(table.column("billed_cost").to_pylist()) == total
    assert table.num_rows == len(lines) - 1 == len(invoice.lines)
    assert table.column("line_kind").to_pylist()[-1] == "ROUNDING"
    assert render_invoice(invoice, InvoiceFileKind.FOCUS).startswith(b"BilledCost,")
    assert render_invoice(invoice, InvoiceFileKind.PDF).startswith(b"%PDF-")
