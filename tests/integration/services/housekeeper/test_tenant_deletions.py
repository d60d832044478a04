"""A tenant that was deleted is forgotten, to the last word, while its ledger still adds up."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import pytest
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow
from structlog.testing import capture_logs

from database.migration_runner import migrate
from database.pool import Pool, open_pool
from database.server import url_for
from metering.invariants import check_invariants
from metering.invoice_store import get_stored
from metering.ledger_chain import verify_ledger
from services.housekeeper.forgotten_objects import ForgottenObjects
from services.housekeeper.tenant_deletions import TenantDeletions
from services.housekeeper.usage_roll_ups import UsageRollUps
from services.object_store import ObjectStoreDoor
from tests.integration.fixture_types import PASSWORD, Become
from tests.integration.metering.shop import Shop, open_shop
from tests.integration.services.housekeeper.leaving_shop import (
    WORDS,
    ask_to_leave,
    dumped,
    leave_words,
    places,
    settle,
)

# An invoice that was sent stays as it was sent; it names its buyer and the projects of its images.
ON_INVOICES = {word: {"invoices"} for word in ("legal name", "address", "VAT id", "project")}
# In the order in which they come.
STEPS: list[tuple[str, LiteralString]] = [
    ("pictures", "DELETE"),
    ("images", "UPDATE"),
    ("usage_records", "UPDATE"),
    ("job_events", "DELETE"),
    ("job_attendance", "DELETE"),
    ("jobs", "UPDATE"),
    ("requests", "DELETE"),
    ("budget_periods", "DELETE"),
    ("api_keys", "DELETE"),
    ("identity_bindings", "DELETE"),
    ("usage_roll_ups", "DELETE"),
    ("tenants", "UPDATE"),
]

# Where words of a tenant stand.
OF_NEIGHBOUR = (
    *("images", "jobs", "tenants", "api_keys", "identity_bindings", "budgets", "budget_periods"),
    *("job_budgets", "usage_records", "usage_roll_ups", "invoices"),
)


class DyingObjects(ForgottenObjects):
    """Ends the sweep after so many deletions, as a killed process would."""

    def __init__(self, store: ObjectStoreDoor, *, deletions: int) -> None:
        super().__init__(store)
        self._deletions = deletions

    async def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            if self._deletions == 0:
                raise RuntimeError("killed")
            self._deletions -= 1
            await super().delete([path])
        raise RuntimeError("killed between the objects and their rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Street:
    """A shop that leaves, its neighbour, whose name begins like its own, and their objects."""

    connection: AsyncConnection[TupleRow]
    pool: Pool
    leaver: Shop
    neighbour: Shop
    objects: Path

    def duty(
        self,
        *,
        grace_seconds: float = 0,
        waits_for_fleet: bool = False,
        objects: Path | None = None,
    ) -> TenantDeletions:
        return TenantDeletions(
            self.pool,
            ForgottenObjects(ObjectStoreDoor((objects or self.objects).as_uri())),
            grace_seconds=grace_seconds,
            waits_for_fleet=waits_for_fleet,
        )

    async def state(self) -> str:
        found = await self.connection.execute(
            "SELECT state FROM tenants WHERE tenant_id = %s", [self.leaver.tenant_id]
        )
        ((state,),) = await found.fetchall()
        await self.connection.commit()
        return str(state)

    def objects_of(self, shop: Shop) -> int:
        folder = self.objects / "tenants" / shop.tenant_id
        return sum(path.is_file() for path in folder.rglob("*"))

    async def refuse(self, table: str, event: LiteralString) -> None:
        """From now on the leaver's rows of a table are not to be touched so."""
        await self.connection.execute(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'refused'; END $$"
        )
        await self.connection.execute(
            sql.SQL(
                "CREATE TRIGGER refused BEFORE {} ON {} FOR EACH ROW"
                " WHEN (OLD.tenant_id = {}) EXECUTE FUNCTION refuse()"
            ).format(sql.SQL(event), sql.Identifier(table), sql.Literal(self.leaver.tenant_id))
        )
        await self.connection.commit()

    async def allow(self, table: str) -> None:
        await self.connection.execute(
            sql.SQL("DROP TRIGGER refused ON {}").format(sql.Identifier(table))
        )
        await self.connection.commit()


@pytest.fixture
async def street(fresh_database: str, become: Become, tmp_path: Path) -> AsyncGenerator[Street]:
    migrate(fresh_database, role_passwords={"atelier_housekeeper": PASSWORD})
    housekeeper = url_for(fresh_database, user="atelier_housekeeper", password=PASSWORD)
    async with (
        await AsyncConnection[TupleRow].connect(fresh_database) as connection,
        open_pool(housekeeper, size_max=2) as pool,
    ):
        leaver = await open_shop(connection, become, tenant_id="acme")
        neighbour = await open_shop(connection, become, tenant_id="acme-2")
        for shop in (leaver, neighbour):
            await leave_words(shop, tmp_path)
            await settle(shop)
        await become(connection, None)
        await connection.commit()
        yield Street(
            connection=connection,
            pool=pool,
            leaver=leaver,
            neighbour=neighbour,
            objects=tmp_path,
        )


async def expect_forgotten(street: Street) -> None:
    """Nothing is left of the leaver but its id, its sums and its invoice."""
    await street.connection.execute("SET session_replication_role = replica")
    # The neighbour's words are the same ones.
    for table in OF_NEIGHBOUR:
        await street.connection.execute(
            sql.SQL("DELETE FROM {} WHERE tenant_id = 'acme-2'").format(sql.Identifier(table))
        )
    await street.connection.execute("SET session_replication_role = origin")
    await street.connection.commit()
    assert places(await dumped(street.connection)) == ON_INVOICES
    assert await street.state() == "DELETED"
    assert not (street.objects / "tenants" / "acme").exists()


async def test_no_word_and_no_picture_is_left_and_the_books_still_add_up(street: Street) -> None:
    assert set(places(await dumped(street.connection))) == set(WORDS)
    await ask_to_leave(street.leaver)

    await street.duty().sweep()
    await UsageRollUps(street.pool).sweep()

    await street.leaver.as_role("atelier_housekeeper")
    violations = await check_invariants(street.connection)
    assert not any(violations.values()), violations
    await street.leaver.as_role("atelier_gateway")
    proof = await verify_ledger(street.connection, street.leaver.tenant_id)
    assert (proof.first_inconsistency, proof.block_count) == (None, 1)
    invoice = await get_stored(
        street.connection, tenant_id=street.leaver.tenant_id, invoice_id="2026-10"
    )
    assert invoice is not None
    assert (invoice.image_count, invoice.buyer.legal_name) == (2, WORDS["legal name"])
    await street.leaver.become(street.connection, None)
    # The neighbour, whose name begins like the leaver's, has every word and picture it had.
    assert set(places(await dumped(street.connection))) == set(WORDS)
    assert street.objects_of(street.neighbour) == 2
    await expect_forgotten(street)


async def test_who_dies_among_the_objects_goes_on_where_it_stopped(street: Street) -> None:
    await ask_to_leave(street.leaver)
    left: list[int] = []

    for deletions in (0, 1, 2):
        dying = TenantDeletions(
            street.pool,
            DyingObjects(ObjectStoreDoor(street.objects.as_uri()), deletions=deletions),
            grace_seconds=0,
            waits_for_fleet=False,
        )
        with capture_logs():
            await dying.sweep()
        left.append(street.objects_of(street.leaver))

    assert left == [2, 1, 0]
    assert await street.state() == "DELETING"
    await street.duty().sweep()
    await expect_forgotten(street)


async def test_who_dies_in_a_step_goes_on_with_it(street: Street) -> None:
    await ask_to_leave(street.leaver)
    errors: list[str] = []

    for table, event in STEPS:
        await street.refuse(table, event)
        with capture_logs() as logs:
            await street.duty().sweep()
        errors += [line["event"] for line in logs if line["log_level"] == "error"]
        assert await street.state() == "DELETING", table
        await street.allow(table)

    assert errors == ["tenant_failed"] * len(STEPS)
    await street.duty().sweep()
    await expect_forgotten(street)


async def test_it_waits_for_the_grace_the_store_the_spool_and_the_fleet(street: Street) -> None:
    await street.connection.execute(
        "UPDATE pictures SET store_time = NULL WHERE image_id ="
        " (SELECT min(image_id) FROM pictures WHERE tenant_id = 'acme')"
    )
    await ask_to_leave(street.leaver)
    away = street.objects / "file"
    away.write_bytes(b"")

    await street.duty(grace_seconds=3600).sweep()
    with capture_logs() as told_of_store:
        await street.duty(objects=away / "objects").sweep()
    assert [line["event"] for line in told_of_store] == ["deletion_waits_for_object_store"]
    assert street.objects_of(street.leaver) == 2
    duty = street.duty(waits_for_fleet=True)
    with capture_logs() as logs:
        await duty.sweep()
        await duty.sweep()
    assert [line for line in logs if line["event"] == "deletion_waits"] == [
        {
            "event": "deletion_waits",
            "log_level": "info",
            "tenant": "acme",
            "pictures": 1,
            "hosts": 1,
        }
    ]
    await street.connection.execute("UPDATE pictures SET store_time = now()")
    await street.connection.execute("UPDATE tenant_deletions SET clear_time = now()")
    await street.connection.commit()
    await duty.sweep()

    await expect_forgotten(street)
