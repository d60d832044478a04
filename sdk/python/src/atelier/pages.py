"""Lists that come in pages, read as one."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

EntryT = TypeVar("EntryT")


class Page(Protocol):
    """An answer that may have another one behind it."""

    @property
    def next_page_token(self) -> str: ...


PageT = TypeVar("PageT", bound=Page)


async def entries_of_pages(
    fetch: Callable[[str], Awaitable[PageT]], entries: Callable[[PageT], Iterable[EntryT]]
) -> AsyncGenerator[EntryT, None]:
    """Yield the entries of all pages; the next page is fetched when it is needed."""
    page_token = ""
    while True:
        page = await fetch(page_token)
        for entry in entries(page):
            yield entry
        page_token = page.next_page_token
        if not page_token:
            return
