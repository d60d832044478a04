"""Named SQL: the queries of `x.py` stand in `x.sql` beside it, each under its name."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from database.errors import MalformedQueriesError, UnknownQueryError

# The one header that counts; every other comment belongs to the query it stands in.
_NAME_LINE = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)$", re.MULTILINE)


class Queries(Mapping[str, bytes]):
    """The queries of one `.sql` file by name.

    They are bytes, because psycopg takes text only when it is a literal, to keep values out of it.
    """

    __slots__ = ("_path", "_queries")

    def __init__(self, path: Path, queries: Mapping[str, bytes]) -> None:
        self._path = path
        self._queries = dict(queries)

    def __getitem__(self, name: str) -> bytes:
        try:
            return self._queries[name]
        except KeyError:
            raise UnknownQueryError(f"{self._path.name} holds no query named {name!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)


def load_queries(module_file: str) -> Queries:
    """Read the `.sql` beside a module; called with `__file__`."""
    path = Path(module_file).with_suffix(".sql")
    return Queries(path, _named_queries(path))


def _named_queries(path: Path) -> dict[str, bytes]:
    preface, *parts = _NAME_LINE.split(path.read_text(encoding="utf-8"))
    if any(line and not line.startswith("--") for line in preface.splitlines()):
        raise MalformedQueriesError(f"{path.name} has SQL before its first '-- name:' line")
    queries: dict[str, bytes] = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise MalformedQueriesError(f"{path.name} names {name!r} twice")
        queries[name] = text.strip().encode()
    return queries
