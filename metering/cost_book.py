"""The operator's own costs in the database: immutable versions, chosen by currency and time."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from database.queries import load_queries
from database.rows import typed_row
from metering.cost_document import CostDocument, cost_from_json, cost_to_json
from metering.errors import PriceVersionExistsError
from tenants.ids import CostId, new_resource_id

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostVersion:
    """Costs as stored; they hold from ``effective_time`` up to the currency's next version.

    Unlike a price's, that time may lie in the past: nobody was promised anything by a cost, and the
    bill of a landlord comes after the month.
    """

    cost_id: CostId
    effective_time: datetime
    document: CostDocument
    document_sha256: bytes
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    cost_id: CostId
    effective_time: datetime
    document: str
    document_sha256: bytes
    create_time: datetime


class CostBook:
    """All versions, to find the one that holds at a time."""

    def __init__(self, versions: Iterable[CostVersion]) -> None:
        self._of_currency: dict[str, list[CostVersion]] = {}
        for version in sorted(versions, key=_effective_time):
            self._of_currency.setdefault(version.document.currency, []).append(version)

    def at(self, time: datetime, *, currency: str) -> CostVersion | None:
        """Find the version that holds; None before the currency's first one."""
        versions = self._of_currency.get(currency, [])
        number = bisect_right(versions, time, key=_effective_time)
        return versions[number - 1] if number else None


async def insert_cost_version(
    conn: AsyncConnection, *, effective_time: datetime, document: CostDocument
) -> CostVersion:
    """Store a new version.

    Raises:
        PriceVersionExistsError: the currency has a version with that effective time.
    """
    text = cost_to_json(document)
    parameters = {
        "cost_id": new_resource_id(),
        "currency": document.currency,
        "effective_time": effective_time,
        "document": text,
        "document_sha256": sha256(text.encode()).digest(),
    }
    try:
        versions = await _read(conn, _QUERIES["insert_cost_version"], parameters)
    except UniqueViolation as error:
        raise PriceVersionExistsError(
            f"costs in {document.currency} from {effective_time} are there already"
        ) from error
    return versions[0]


async def get_cost(conn: AsyncConnection, cost_id: CostId) -> CostVersion | None:
    """Find a version by its id."""
    versions = await _read(conn, _QUERIES["get_cost"], {"cost_id": cost_id})
    return versions[0] if versions else None


async def list_costs(
    conn: AsyncConnection, *, limit: int, before: tuple[datetime, str] | None = None
) -> list[CostVersion]:
    """List the versions, the newest effective time first; ``before`` continues after one."""
    before_time, before_id = before or (None, None)
    return await _read(
        conn,
        _QUERIES["list_costs"],
        {"before_time": before_time, "before_id": before_id, "limit": limit},
    )


async def read_cost_book(conn: AsyncConnection) -> CostBook:
    """Read every version there is; they are few."""
    return CostBook(await _read(conn, _QUERIES["all_costs"], {}))


async def _read(
    conn: AsyncConnection, query: bytes, parameters: Mapping[str, object]
) -> list[CostVersion]:
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        await cursor.execute(query, parameters)
        return [_version(row) for row in await cursor.fetchall()]


def _version(row: _Row) -> CostVersion:
    return CostVersion(
        cost_id=row.cost_id,
        effective_time=row.effective_time,
        document=cost_from_json(row.document),
        document_sha256=row.document_sha256,
        create_time=row.create_time,
    )


def _effective_time(version: CostVersion) -> datetime:
    return version.effective_time
