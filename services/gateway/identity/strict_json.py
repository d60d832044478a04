"""JSON from strangers, read in one way only.

Two readers that differ about a document are a way in: one checks what the other does not see.
"""

import json
from typing import NoReturn, cast

JsonObject = dict[str, object]


def read_object(content: bytes) -> JsonObject:
    """Read one JSON object.

    Raises:
        ValueError: it is none, says something twice, has a number that JSON has not, or is so deep
            that it was made to hurt.
    """
    try:
        # Strictly UTF-8: json itself would guess UTF-16 and UTF-32.
        text = content.decode()
        value = cast(
            "object",
            json.loads(text, object_pairs_hook=_once, parse_constant=_refuse),
        )
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004 - of the document, not of a Python value
    return cast("JsonObject", value)


def _once(pairs: list[tuple[str, object]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("says something twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
