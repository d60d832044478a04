"""Price versions on the real table: immutable, chosen by time, one for each effective time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege, RestrictViolation

from metering.errors import PriceVersionExistsError
from metering.price_book import current_price, get_price, insert_price_version, list_prices
from metering.price_document import to_canonical_json
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import PRICE

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
BOOK = "book-of-prices"


async def test_a_stored_price_is_found_by_its_id_with_its_hash(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_operator")
    stored = await insert_price_version(
        connection, price_book=BOOK, effective_time=NOON, document=PRICE
    )
    await become(connection, "atelier_gateway", tenant_id="acme")

    found = await get_price(connection, stored.price_id)

    assert found is not None
    assert found == stored
    assert found.document == PRICE
    assert found.document_sha256 == sha256(to_canonical_json(PRICE).encode()).digest()


async def test_the_newest_version_that_has_begun_holds(connection: AsyncConnection) -> None:
    first = await insert_price_version(
        connection, price_book=BOOK, effective_time=NOON, document=PRICE
    )
    second = await insert_price_version(
        connection, price_book=BOOK, effective_time=NOON + timedelta(days=1), document=PRICE
    )

    async def at(time: datetime, *, currency: str = "EUR") -> str | None:
        found = await current_price(connection, price_book=BOOK, currency=currency, at=time)
        return None if found is None else found.price_id

    assert await at(NOON - timedelta(microseconds=1)) is None
    assert await at(NOON) == first.price_id
    assert await at(NOON + timedelta(days=1)) == second.price_id
    assert await at(NOON, currency="USD") is None


async def test_two_versions_cannot_begin_at_the_same_time(connection: AsyncConnection) -> None:
    await insert_price_version(connection, price_book=BOOK, effective_time=NOON, document=PRICE)

    with pytest.raises(PriceVersionExistsError):
        async with connection.transaction():
            await insert_price_version(
                connection, price_book=BOOK, effective_time=NOON, document=PRICE
            )

    # Another currency is another price.
    await insert_price_version(
        connection,
        price_book=BOOK,
        effective_time=NOON,
        document=replace(PRICE, currency="USD"),
    )


async def test_versions_are_listed_newest_first_page_by_page(connection: AsyncConnection) -> None:
    versions = [
        await insert_price_version(
            connection, price_book=BOOK, effective_time=NOON + timedelta(days=day), document=PRICE
        )
        for day in range(3)
    ]

    first = await list_prices(connection, price_book=BOOK, limit=2)
    rest = await list_prices(
        connection,
        price_book=BOOK,
        limit=2,
        before=(first[-1].effective_time, first[-1].price_id),
    )

    assert [*first, *rest] == versions[::-1]


async def test_a_price_is_never_changed_not_even_by_its_owner(
    connection: AsyncConnection, become: Become
) -> None:
    await insert_price_version(connection, price_book=BOOK, effective_time=NOON, document=PRICE)

    for role, error in [
        ("atelier_owner", RestrictViolation),
        ("atelier_operator", InsufficientPrivilege),
    ]:
        await become(connection, role)
        with pytest.raises(error):
            async with connection.transaction():
                await connection.execute("UPDATE price_versions SET effective_time = now()")
        with pytest.raises(error):
            async with connection.transaction():
                await connection.execute("DELETE FROM price_versions")
