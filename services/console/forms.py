"""What browsers send in forms, with bounds."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from services.console.errors import FormTooLargeError, UnreadableFormError

_FIELDS_MAX: Final = 200
_CONTENT_TYPE: Final = "application/x-www-form-urlencoded"


class Form:
    """The fields of a form, the last of each name; what is missing is empty."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """Return a field without blanks around it."""
        return self._fields.get(name, "").strip()

    def whole_number(self, name: str, *, default: int = 0) -> int:
        """Read a number.

        Raises:
            ValueError: it is none; the page says which field.
        """
        text = self.text(name)
        try:
            return int(text) if text else default
        except ValueError:
            raise ValueError(f"{name.replace('_', ' ')}: {text!r} is not a whole number") from None


async def read_form(request: Request, *, bytes_max: int) -> Form:
    """Read a form's body, at most so many bytes of it.

    Raises:
        FormTooLargeError: it is longer.
        UnreadableFormError: it is no form of ours.
    """
    if not request.headers.get("content-type", "").startswith(_CONTENT_TYPE):
        raise UnreadableFormError
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise FormTooLargeError
    try:
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            strict_parsing=bool(body),
            max_num_fields=_FIELDS_MAX,
        )
    except ValueError:
        raise UnreadableFormError from None
    return Form(dict(pairs))
