"""Requests as templates: JSON in which `{job}` and the like stand for whose ids are named."""

import string
from collections.abc import Iterator, Mapping
from typing import Any


def fill(template: Any, values: Mapping[str, str]) -> Any:
    """Write values into a template; all else stays as it is."""
    if isinstance(template, str):
        return string.Template(template.replace("{", "${")).substitute(values)
    if isinstance(template, Mapping):
        return {name: fill(value, values) for name, value in template.items()}  # pyright: ignore[reportUnknownVariableType] - JSON
    return [fill(value, values) for value in template] if isinstance(template, list) else template  # pyright: ignore[reportUnknownVariableType] - JSON


def strings(template: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield each string of a template with its path; a list's items go by their number."""
    if isinstance(template, str):
        yield above, template
    for step, value in _parts(template):
        yield from strings(value, f"{above}.{step}" if above else str(step))


def _parts(template: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(template, Mapping):
        yield from template.items()  # pyright: ignore[reportUnknownArgumentType] - JSON
    elif isinstance(template, list):
        yield from enumerate(template)  # pyright: ignore[reportUnknownArgumentType] - JSON


def at(message: Any, path: str) -> Any:
    """Return what lies at a path."""
    part = message
    for step in path.split("."):
        part = part[int(step) if isinstance(part, list) else step]
    return part


def put(message: Any, path: str, value: Any) -> None:
    """Replace what lies at a path."""
    above, _, last = path.rpartition(".")
    part = at(message, above) if above else message
    part[int(last) if isinstance(part, list) else last] = value
