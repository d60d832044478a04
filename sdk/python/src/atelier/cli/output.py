"""What commands print: tables for people, JSON for programs. Results go to the standard output."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import Generic, TypeVar

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 400
_UNBOUNDED = Console(width=100_000).options
ItemT = TypeVar("ItemT", bound=Message)


class OutputFormat(StrEnum):
    """For whom."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column(Generic[ItemT]):
    """One thing to tell of a message."""

    title: str
    text: Callable[[ItemT], str]
    is_number: bool = False
    # Free text may take several lines; everything else is copied and stays in one piece.
    is_text: bool = False
    # Left out where the window is too narrow; JSON always has it.
    is_detail: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Prints in one format."""

    output_format: OutputFormat

    @property
    def is_json(self) -> bool:
        return self.output_format is OutputFormat.JSON

    def show_many(self, items: Iterable[ItemT], columns: Sequence[Column[ItemT]]) -> None:
        """Print a list: a JSON array, or a table with a line for each."""
        if self.is_json:
            self.show_json([message_fields(item) for item in items])
            return
        told = list(items)
        filled = [column for column in columns if any(column.text(item) for item in told)]
        console = _console()
        table = _table(told, filled or columns)
        while Measurement.get(console, _UNBOUNDED, table).maximum > console.width:
            details = [column for column in filled if column.is_detail]
            if not details:
                break
            filled.remove(details[-1])
            table = _table(told, filled)
        console.print(table)

    def show_one(self, item: ItemT, columns: Sequence[Column[ItemT]]) -> None:
        """Print one thing: a JSON object, or a line for each of its columns."""
        if self.is_json:
            self.show_json(message_fields(item))
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for column in columns:
            text = column.text(item)
            if text:
                table.add_row(column.title, Text(text))
        _console().print(table)

    def show_json(self, value: object) -> None:
        click.echo(json.dumps(value, ensure_ascii=False, indent=2))

    def show_json_line(self, value: object) -> None:
        click.echo(json.dumps(value, ensure_ascii=False))

    def tell(self, sentence: str) -> None:
        """Say something to people only; it never mixes with results."""
        click.echo(sentence, err=True)


def _table(items: Sequence[ItemT], columns: Sequence[Column[ItemT]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.is_number else "left",
            no_wrap=not column.is_text,
            overflow="fold",
        )
    for item in items:
        table.add_row(*(Text(column.text(item)) for column in columns))
    return table


def _console() -> Console:
    # What is read by a program or a pager is not squeezed into eighty characters.
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def message_fields(message: Message) -> Mapping[str, object]:
    """Write a message as JSON has it: every field there, 64-bit numbers as text."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def enum_word(name: str, prefix: str) -> str:
    """Write an enum's value for people: without its prefix, empty when it says nothing."""
    word = name.removeprefix(f"{prefix}_")
    return "" if word == "UNSPECIFIED" else word


def moment_text(moment: Timestamp) -> str:
    """Write a moment in the reader's own time zone; empty when unset."""
    if moment.seconds == 0:
        return ""
    return moment.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def joules_text(millijoules: int) -> str:
    """Write energy in joules."""
    return f"{millijoules / 1000:,.1f} J"
