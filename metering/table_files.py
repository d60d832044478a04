"""Tables as files for programs: comma-separated values and Parquet, amounts as exact decimals.

A writer takes rows in portions and gives bytes as soon as it has some, so that a file of a million
rows is never whole in memory.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol

import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]

from metering.money import exact_text

# pyarrow describes no types: what is taken from it is named here and nowhere else.
_arrow: Final[Any] = pa
_parquet: Final[Any] = parquet
# What a spreadsheet would take for the beginning of a formula.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")

Cell = str | int | Decimal | datetime | None
Row = Mapping[str, Cell]


class ColumnType(StrEnum):
    """What a column holds; DECIMAL has 15 places, which hold every amount and quantity exactly."""

    TEXT = "TEXT"
    INTEGER = "INTEGER"
    DECIMAL = "DECIMAL"
    TIME = "TIME"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """One column; ``nullable`` ones may be empty."""

    name: str
    column_type: ColumnType = ColumnType.TEXT
    nullable: bool = True


class TableWriter(Protocol):
    """Gives the bytes of a file, part by part."""

    def write(self, rows: Sequence[Row]) -> bytes:
        """Take rows; return what can be sent now."""
        ...

    def finish(self) -> bytes:
        """Return the rest."""
        ...


class CsvWriter:
    """Comma-separated values in UTF-8: ISO 8601 times in UTC, decimals in full."""

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        self._names = [column.name for column in columns]
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text)
        self._writer.writerow(self._names)

    def write(self, rows: Sequence[Row]) -> bytes:
        self._writer.writerows([_csv_text(row[name]) for name in self._names] for row in rows)
        return self._taken()

    def finish(self) -> bytes:
        return self._taken()

    def _taken(self) -> bytes:
        text = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return text.encode()


class ParquetWriter:
    """Apache Parquet: one row group for each portion, decimals of 38 digits, never a float."""

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        self._schema: Any = _arrow.schema(
            [
                _arrow.field(column.name, _ARROW_TYPES[column.column_type], column.nullable)
                for column in columns
            ]
        )
        self._sink = _Sink()
        self._writer: Any = _parquet.ParquetWriter(self._sink, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> bytes:
        if rows:
            table: Any = _arrow.Table.from_pylist([dict(row) for row in rows], self._schema)
            self._writer.write_table(table)
        return self._sink.taken()

    def finish(self) -> bytes:
        self._writer.close()
        return self._sink.taken()


class _Sink(io.RawIOBase):
    """A file that only grows, and whose bytes are taken away while it does."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - whatever has a buffer
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


_ARROW_TYPES: Final[Mapping[ColumnType, Any]] = {
    ColumnType.TEXT: _arrow.string(),
    ColumnType.INTEGER: _arrow.int64(),
    ColumnType.DECIMAL: _arrow.decimal128(38, 15),
    ColumnType.TIME: _arrow.timestamp("us", tz="UTC"),
}


def safe_text(words: str) -> str:
    """Keep a spreadsheet from running words that look like a formula."""
    return f"'{words}" if words.startswith(_FORMULA_STARTS) else words


def _csv_text(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case str():
            return safe_text(cell)
        case datetime():
            return cell.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Decimal():
            return exact_text(cell)
        case _:
            return str(cell)
