"""The chain proves that nothing sealed was changed, and names the first thing that was."""

from typing import LiteralString

import pytest
from psycopg import AsyncConnection, errors, sql

from metering.ledger_chain import LedgerProof, seal_block, tenants_to_seal, verify_ledger
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import Shop, open_shop


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """A grant, two holds, a capture, a release: five transfers in blocks of two."""
    shop = await open_shop(connection, become, tenant_id="acme-of-chain")
    await shop.sell()
    await shop.fail()
    await seal(shop, limit=2)
    await seal(shop, limit=2)
    return shop


async def seal(shop: Shop, *, limit: int = 100) -> int:
    await shop.as_role("atelier_housekeeper")
    return await seal_block(shop.connection, shop.tenant_id, limit=limit)


async def proof_of(shop: Shop) -> LedgerProof:
    await shop.as_role("atelier_gateway")
    return await verify_ledger(shop.connection, shop.tenant_id)


async def transfer_ids(shop: Shop) -> list[int]:
    await shop.as_role("atelier_gateway")
    cursor = await shop.connection.execute(
        "SELECT transfer_id FROM transfers WHERE tenant_id = %s ORDER BY transfer_id",
        [shop.tenant_id],
    )
    return [transfer_id for (transfer_id,) in await cursor.fetchall()]


async def test_what_was_sealed_and_what_waits_is_proven(shop: Shop) -> None:
    assert await proof_of(shop) == LedgerProof(
        transfer_count=5, block_count=2, first_inconsistency=None
    )

    assert await seal(shop) == 1
    assert await seal(shop) == 0
    assert (await proof_of(shop)).block_count == 3


async def test_whoever_has_transfers_in_no_block_is_to_be_sealed(shop: Shop) -> None:
    await shop.as_role("atelier_housekeeper")
    assert shop.tenant_id in await tenants_to_seal(shop.connection)

    await seal(shop)

    assert shop.tenant_id not in await tenants_to_seal(shop.connection)


async def test_a_changed_transfer_is_named(shop: Shop) -> None:
    _, second, *_ = await transfer_ids(shop)
    await shop.without_guards(
        "UPDATE transfers SET description = 'kindly' WHERE transfer_id = %s", second
    )

    assert (await proof_of(shop)).first_inconsistency == (
        f"transfer {second} was changed since block 1 sealed it"
    )


async def test_a_transfer_that_was_taken_away_is_named(shop: Shop) -> None:
    *_, fourth, _ = await transfer_ids(shop)
    await shop.without_guards("DELETE FROM transfers WHERE transfer_id = %s", fourth)

    assert (await proof_of(shop)).first_inconsistency == (
        f"transfer {fourth} is gone since block 2 sealed it"
    )


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE ledger_blocks SET previous_sha256 = sha256(previous_sha256) WHERE tenant_id = %s",
        "UPDATE ledger_blocks SET block_sha256 = sha256(block_sha256) WHERE tenant_id = %s",
        "DELETE FROM ledger_blocks WHERE block_number = 1 AND tenant_id = %s",
        "DELETE FROM sealed_transfers WHERE position = 2 AND tenant_id = %s",
    ],
)
async def test_a_broken_block_is_named(shop: Shop, harm: LiteralString) -> None:
    await shop.without_guards(harm, shop.tenant_id)

    found = (await proof_of(shop)).first_inconsistency
    assert found is not None
    assert found.startswith(("block 1 ", "block 2 "))


async def test_whoever_changes_a_transfer_and_all_hashes_after_it_is_given_away_by_the_balance(
    shop: Shop,
) -> None:
    first, *_ = await transfer_ids(shop)
    await shop.without_guards(
        "UPDATE transfers SET amount_nanos = amount_nanos + 1 WHERE transfer_id = %s", first
    )
    for table in ("sealed_transfers", "ledger_blocks"):
        await forget(shop, table)
    await shop.without_guards(
        "INSERT INTO unsealed_transfers SELECT tenant_id, transfer_id FROM transfers"
        " WHERE tenant_id = %s ON CONFLICT DO NOTHING",
        shop.tenant_id,
    )
    await seal(shop)

    assert (await proof_of(shop)).first_inconsistency == (
        "account FUNDING in EUR is not the sum of its transfers"
    )


async def forget(shop: Shop, table: str) -> None:
    await shop.become(shop.connection, None)
    await shop.connection.execute("SET LOCAL session_replication_role = replica")
    statement = sql.SQL("DELETE FROM {} WHERE tenant_id = {}")
    await shop.connection.execute(statement.format(sql.Identifier(table), shop.tenant_id))
    await shop.connection.execute("SET LOCAL session_replication_role = origin")


async def test_a_transfer_that_escaped_the_chain_is_named(shop: Shop) -> None:
    *_, last = await transfer_ids(shop)
    await shop.without_guards("DELETE FROM unsealed_transfers WHERE transfer_id = %s", last)

    assert (await proof_of(shop)).first_inconsistency == f"transfer {last} escaped the chain"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount_nanos = 0",
        "DELETE FROM transfers",
        "TRUNCATE ledger_blocks CASCADE",
        "UPDATE ledger_blocks SET transfer_count = 1",
        "DELETE FROM sealed_transfers",
        "DELETE FROM lot_consumptions",
        "UPDATE usage_lines SET billed_cost_nanos = 0",
    ],
)
async def test_nothing_posted_is_changed_not_even_by_the_owner(
    shop: Shop, statement: LiteralString
) -> None:
    await shop.become(shop.connection, "atelier_owner")
    with pytest.raises(errors.RestrictViolation):
        async with shop.connection.transaction():
            await shop.connection.execute(statement)
    # And whoever works at run time has no right to ask.
    for role in ("atelier_gateway", "atelier_operator", "atelier_recorder", "atelier_housekeeper"):
        await shop.as_role(role)
        with pytest.raises(errors.InsufficientPrivilege):
            async with shop.connection.transaction():
                await shop.connection.execute(statement)
