"""Rows as typed objects: each column is checked and converted to its field's type.

psycopg's own ``class_row`` trusts the driver's types, which gives plain strings where a StrEnum
was promised and Decimal where an int was; pydantic parses at the door, the rest of the code trusts.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from psycopg import AsyncCursor
from psycopg.errors import ProgrammingError
from pydantic import TypeAdapter

T = TypeVar("T")


def typed_row(row_type: type[T]) -> Callable[[AsyncCursor[Any]], Callable[[Sequence[Any]], T]]:
    """Return a psycopg row factory that builds ``row_type`` from columns named like its fields."""
    adapter = _adapter(row_type)

    def factory(cursor: AsyncCursor[Any]) -> Callable[[Sequence[Any]], T]:
        columns = cursor.description
        if columns is None:
            return _no_result
        names = [column.name for column in columns]
        return lambda values: adapter.validate_python(dict(zip(names, values, strict=True)))

    return factory


@cache
def _adapter(row_type: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(row_type)


def _no_result(_values: Sequence[Any]) -> Any:  # noqa: ANN401 - it never returns
    raise ProgrammingError("the statement returned no rows to build objects from")
