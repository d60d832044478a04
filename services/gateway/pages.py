"""Pages of lists: how many, from where, and whether there is more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from services.gateway.page_tokens import PageTokens, Position

Row = TypeVar("Row")

_PAGE_SIZE_DEFAULT: Final = 50
_PAGE_SIZE_MAX: Final = 1000
_NOT_PART_OF_THE_QUERY: Final = ("page_size", "page_token", "parent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Row]):
    """One page and the token of the next; empty at the end."""

    rows: Sequence[Row]
    next_page_token: str


class PageRequest:
    """What a list call asks for; the token is verified when it is made.

    Raises:
        CallRefusedError: PAGE_TOKEN_MISMATCH.
    """

    def __init__(self, request: Any, *, scope: str, tokens: PageTokens) -> None:  # noqa: ANN401 - any list request
        self._tokens = tokens
        self._query = _query(request, scope=scope)
        self._size = min(request.page_size or _PAGE_SIZE_DEFAULT, _PAGE_SIZE_MAX)
        self.position: Position | None = (
            tokens.read(request.page_token, query=self._query) if request.page_token else None
        )

    @property
    def limit(self) -> int:
        """How many rows to ask for: one more than the page, which tells whether there is more."""
        return self._size + 1

    def page(self, rows: Sequence[Row], *, position: Callable[[Row], Position]) -> Page[Row]:
        """Cut the page off; ``position`` tells where the next one begins."""
        shown = rows[: self._size]
        more = len(rows) > self._size
        token = self._tokens.write(position(shown[-1]), query=self._query) if more else ""
        return Page(rows=shown, next_page_token=token)


def _query(request: Message, *, scope: str) -> bytes:
    """What a token is bound to: the call, the real parent, every filter; not the page's size."""
    question = type(request)()
    question.CopyFrom(request)
    for name in _NOT_PART_OF_THE_QUERY:
        if name in request.DESCRIPTOR.fields_by_name:
            question.ClearField(name)
    head = f"{request.DESCRIPTOR.full_name}\n{scope}\n".encode()
    return head + question.SerializeToString(deterministic=True)
