"""Price versions in the database: immutable, chosen by book, currency and time."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from database.queries import load_queries
from database.rows import typed_row
from metering.errors import PriceVersionExistsError
from metering.price_document import PriceDocument, from_json, to_canonical_json
from tenants.ids import PriceId, TenantId, new_resource_id

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVersion:
    """A price as stored; jobs accepted from ``effective_time`` up to the next version pin it."""

    price_id: PriceId
    price_book: str
    currency: str
    effective_time: datetime
    document: PriceDocument
    document_sha256: bytes
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A price version with its document unread."""

    price_id: PriceId
    price_book: str
    currency: str
    effective_time: datetime
    document: str
    document_sha256: bytes
    create_time: datetime


async def insert_price_version(
    conn: AsyncConnection, *, price_book: str, effective_time: datetime, document: PriceDocument
) -> PriceVersion:
    """Store a new version; jobs that pinned an older one keep it.

    Raises:
        PriceVersionExistsError: the book has a version with that currency and effective time.
    """
    text = to_canonical_json(document)
    parameters = {
        "price_id": new_resource_id(),
        "price_book": price_book,
        "currency": document.currency,
        "effective_time": effective_time,
        "document": text,
        "document_sha256": sha256(text.encode()).digest(),
    }
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        try:
            await cursor.execute(_QUERIES["insert_price_version"], parameters)
        except UniqueViolation as error:
            raise PriceVersionExistsError(
                f"{price_book} has a version in {document.currency} from {effective_time} already"
            ) from error
        row = await cursor.fetchone()
    assert row is not None, "INSERT … RETURNING gives a row or raises"
    return _price_version(row)


async def get_price(conn: AsyncConnection, price_id: PriceId) -> PriceVersion | None:
    """Find a version by its id, as a job pins it."""
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        await cursor.execute(_QUERIES["get_price"], {"price_id": price_id})
        row = await cursor.fetchone()
    return None if row is None else _price_version(row)


async def current_price(
    conn: AsyncConnection, *, price_book: str, currency: str, at: datetime
) -> PriceVersion | None:
    """Find the version that holds at a time; None before the book's first one."""
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        await cursor.execute(
            _QUERIES["current_price"], {"price_book": price_book, "currency": currency, "at": at}
        )
        row = await cursor.fetchone()
    return None if row is None else _price_version(row)


async def price_in_force(
    conn: AsyncConnection, *, tenant_id: TenantId, currency: str, at: datetime
) -> PriceVersion | None:
    """Find the version by which a tenant bought at a time; None before its book's first one."""
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        await cursor.execute(
            _QUERIES["price_in_force"], {"tenant_id": tenant_id, "currency": currency, "at": at}
        )
        row = await cursor.fetchone()
    return None if row is None else _price_version(row)


async def list_prices(
    conn: AsyncConnection,
    *,
    limit: int,
    price_book: str | None = None,
    currency: str | None = None,
    before: tuple[datetime, str] | None = None,
) -> list[PriceVersion]:
    """List the versions of a book and a currency, or of all, the newest effective time first.

    ``before`` continues after a version: its effective time and id.
    """
    before_time, before_id = before or (None, None)
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        await cursor.execute(
            _QUERIES["list_prices"],
            {
                "price_book": price_book,
                "currency": currency,
                "before_time": before_time,
                "before_id": before_id,
                "limit": limit,
            },
        )
        return [_price_version(row) for row in await cursor.fetchall()]


def _price_version(row: _Row) -> PriceVersion:
    return PriceVersion(
        price_id=row.price_id,
        price_book=row.price_book,
        currency=row.currency,
        effective_time=row.effective_time,
        document=from_json(row.document),
        document_sha256=row.document_sha256,
        create_time=row.create_time,
    )
