"""Campaigns: lists of pictures to order, as CSV or as JSON lines. Pure.

Columns and keys are those of the contract's ImageSpec, plus `count`, plus `size` ("512x768") for
width and height, plus `label.<key>` for labels. Only `prompt` is needed. What is not known is
refused, with its line and column: a misspelt column would otherwise draw something else.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from atelier.errors import AtelierError
from atelier.v1.image_pb2 import ImageSpec, OutputFormat
from atelier.v1.job_service_pb2 import JobSpec

LABEL_PREFIX = "label."
_TEXT_COLUMNS = ("prompt", "negative_prompt", "client_ref")
_NUMBER_COLUMNS = (
    "width",
    "height",
    "num_inference_steps",
    "seed",
    "max_sequence_length",
    "output_quality",
)
_OTHER_COLUMNS = ("size", "guidance_scale", "model", "output_format", "count")
KNOWN_COLUMNS = (*_TEXT_COLUMNS, *_NUMBER_COLUMNS, *_OTHER_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFault:
    """One thing that is wrong; `column` is empty when it is the whole line."""

    line: int
    column: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", column {self.column}" if self.column else "")
        return f"{where}: {self.message}"


class CampaignError(AtelierError):
    """A campaign cannot be ordered; every fault is named."""

    def __init__(self, faults: Sequence[CampaignFault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignEntry:
    """One line of a campaign."""

    line: int
    spec: JobSpec


def read_campaign(text: str, *, json_lines: bool) -> list[CampaignEntry]:
    """Read a campaign.

    Raises:
        CampaignError: something in it cannot be understood, or there is nothing in it.
    """
    faults: list[CampaignFault] = []
    rows = _json_rows(text, faults) if json_lines else _csv_rows(text, faults)
    entries = [CampaignEntry(line=line, spec=_read_row(line, row, faults)) for line, row in rows]
    if not entries and not faults:
        faults.append(CampaignFault(line=1, column="", message="there is no picture to draw"))
    if faults:
        raise CampaignError(faults)
    return entries


# ------------------------------------------------------------------------------ rows

Row = Mapping[str, str]


def _csv_rows(text: str, faults: list[CampaignFault]) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, list[str]())]
        if _header_is_wrong(header, faults):
            return
        for cells in reader:
            # A quoted cell may span lines: the reader stands on the row's last one.
            line = reader.line_num - sum(cell.count("\n") for cell in cells)
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                message = f"{len(cells)} cells under {len(header)} columns; quote texts with commas"
                faults.append(CampaignFault(line=line, column="", message=message))
                continue
            yield line, dict(zip(header, (cell.strip() for cell in cells), strict=False))
    except csv.Error as error:
        faults.append(CampaignFault(line=reader.line_num, column="", message=str(error)))


def _header_is_wrong(header: Sequence[str], faults: list[CampaignFault]) -> bool:
    before = len(faults)
    for column in dict.fromkeys(header):
        if not _is_known(column):
            faults.append(_unknown_column(1, column))
        elif header.count(column) > 1:
            faults.append(CampaignFault(line=1, column=column, message="stands here twice"))
    if "prompt" not in header:
        message = "is missing; the first line names the columns"
        faults.append(CampaignFault(line=1, column="prompt", message=message))
    return len(faults) > before


def _json_rows(text: str, faults: list[CampaignFault]) -> Iterator[tuple[int, Row]]:
    for line, content in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        if not content.strip():
            continue
        try:
            entry = cast("object", json.loads(content))
        except ValueError as error:
            faults.append(CampaignFault(line=line, column="", message=f"is no JSON: {error}"))
            continue
        if isinstance(entry, dict):
            yield line, _flat(cast("Mapping[str, object]", entry))
        else:
            faults.append(CampaignFault(line=line, column="", message="is no JSON object"))


def _flat(entry: Mapping[str, object]) -> Row:
    """Write a JSON object as a row: labels become columns, everything becomes text."""
    row: dict[str, str] = {}
    for key, value in entry.items():
        if key == "labels" and isinstance(value, dict):
            labels = cast("Mapping[str, object]", value)
            row |= {LABEL_PREFIX + name: str(label) for name, label in labels.items()}
        elif value is not None:
            row[key] = str(value)
    return row


# ------------------------------------------------------------------------------ cells


def _read_row(line: int, row: Row, faults: list[CampaignFault]) -> JobSpec:
    spec = JobSpec(count=1)
    image = spec.image
    for column, text in row.items():
        if not text:
            continue
        try:
            _read_cell(spec, column, text)
        except _UnknownColumnError:
            faults.append(_unknown_column(line, column))
        except ValueError as error:
            faults.append(CampaignFault(line=line, column=column, message=str(error)))
    if not image.prompt:
        faults.append(CampaignFault(line=line, column="prompt", message="is empty"))
    return spec


class _UnknownColumnError(Exception):
    """A key that means nothing."""


def _read_cell(spec: JobSpec, column: str, text: str) -> None:
    image = spec.image
    if column.startswith(LABEL_PREFIX):
        image.labels[column.removeprefix(LABEL_PREFIX)] = text
    elif column in _TEXT_COLUMNS:
        setattr(image, column, text)
    elif column in _NUMBER_COLUMNS:
        setattr(image, column, whole_number(text))
    elif column == "count":
        spec.count = whole_number(text)
    else:
        reader = _READERS.get(column)
        if reader is None:
            raise _UnknownColumnError
        reader(image, text)


def _read_size(image: ImageSpec, text: str) -> None:
    image.width, image.height = parse_size(text)


def _read_guidance_scale(image: ImageSpec, text: str) -> None:
    try:
        image.guidance_scale = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def _read_model(image: ImageSpec, text: str) -> None:
    image.model = text if text.startswith("models/") else f"models/{text}"


def _read_output_format(image: ImageSpec, text: str) -> None:
    image.output_format = parse_output_format(text)


_READERS: Mapping[str, Callable[[ImageSpec, str], None]] = {
    "size": _read_size,
    "guidance_scale": _read_guidance_scale,
    "model": _read_model,
    "output_format": _read_output_format,
}


def whole_number(text: str) -> int:
    """Read a number that is not negative.

    Raises:
        ValueError: it is none, or larger than any field takes.
    """
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is not a whole number")
    number = int(text)
    if number > 2**64 - 1:
        raise ValueError(f"{text} is too large")
    return number


def parse_size(text: str) -> tuple[int, int]:
    """Read a size such as "512x768".

    Raises:
        ValueError: it is none.
    """
    width, _, height = text.lower().replace("×", "x").partition("x")
    try:
        return whole_number(width.strip()), whole_number(height.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a size such as 512x768") from None


def parse_output_format(text: str) -> "OutputFormat.ValueType":
    """Read the name of a file format.

    Raises:
        ValueError: there is none of that name.
    """
    names = [name.removeprefix("OUTPUT_FORMAT_") for name in OutputFormat.keys()[1:]]
    name = {"JPG": "JPEG"}.get(text.upper(), text.upper())
    if name not in names:
        raise ValueError(f"{text!r} is none of {', '.join(names)}")
    return OutputFormat.Value(f"OUTPUT_FORMAT_{name}")


def _is_known(column: str) -> bool:
    return column in KNOWN_COLUMNS or (column.startswith(LABEL_PREFIX) and column != LABEL_PREFIX)


def _unknown_column(line: int, column: str) -> CampaignFault:
    message = f"is not known; known are {', '.join(KNOWN_COLUMNS)} and {LABEL_PREFIX}<key>"
    return CampaignFault(line=line, column=column or "(no name)", message=message)
