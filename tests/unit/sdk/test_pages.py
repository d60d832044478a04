from collections.abc import Sequence
from dataclasses import dataclass

from atelier.pages import entries_of_pages


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberPage:
    numbers: Sequence[int]
    next_page_token: str


PAGES = {
    "": NumberPage(numbers=[1, 2], next_page_token="b"),
    "b": NumberPage(numbers=[], next_page_token="c"),
    "c": NumberPage(numbers=[3], next_page_token=""),
}


async def test_pages_are_read_as_one_list() -> None:
    async def fetch(page_token: str) -> NumberPage:
        return PAGES[page_token]

    numbers = [number async for number in entries_of_pages(fetch, lambda page: page.numbers)]

    assert numbers == [1, 2, 3]


async def test_a_page_nobody_needs_is_not_fetched() -> None:
    fetched: list[str] = []

    async def fetch(page_token: str) -> NumberPage:
        fetched.append(page_token)
        return PAGES[page_token]

    async for number in entries_of_pages(fetch, lambda page: page.numbers):
        if number == 2:
            break

    assert fetched == [""]
