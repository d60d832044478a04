"""Reading named queries."""

from pathlib import Path

import pytest

from database.errors import MalformedQueriesError, UnknownQueryError
from database.queries import load_queries

TWO_QUERIES = """\
-- About shelves.

-- name: get_shelf
-- The newest one.
SELECT 1

-- name: list_shelves
SELECT 2;
"""


def module_with(folder: Path, text: str) -> str:
    (folder / "shelves.sql").write_text(text)
    return str(folder / "shelves.py")


def test_each_query_stands_under_its_name_with_its_comments(tmp_path: Path) -> None:
    queries = load_queries(module_with(tmp_path, TWO_QUERIES))

    assert dict(queries) == {
        "get_shelf": b"-- The newest one.\nSELECT 1",
        "list_shelves": b"SELECT 2;",
    }


def test_a_missing_query_is_named_in_the_error(tmp_path: Path) -> None:
    queries = load_queries(module_with(tmp_path, TWO_QUERIES))

    with pytest.raises(UnknownQueryError, match=r"shelves\.sql holds no query named 'get_book'"):
        queries["get_book"]


@pytest.mark.parametrize(
    "text",
    ["SELECT 1\n", "-- name: twice\nSELECT 1\n-- name: twice\nSELECT 2\n"],
    ids=["before any name", "a name twice"],
)
def test_a_malformed_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MalformedQueriesError):
        load_queries(module_with(tmp_path, text))
