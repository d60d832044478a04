"""A studio that is about to leave: with a word of its own in every place that takes one."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from metering import accounts
from metering.invoice_settlement import record_payment
from metering.ledger_chain import seal_block
from metering.price_document import Tier
from metering.refunds import prepaid_nanos, refund_credit
from metering.usage_roll_ups import TenantClock, roll_up_anew
from services.jobs import attendance_store, job_store
from services.jobs.records import NewImage, NewJob
from services.jobs.requests import claim_request
from tenants.api_key_store import KeyToStore, insert_key
from tenants.api_keys import Role
from tenants.deletion_store import begin_deletion, lock_tenant_alone
from tenants.identity_binding_store import BindingToStore, insert_binding
from tenants.identity_bindings import IdentityClaim
from tenants.ids import BindingId, KeyId
from tests.integration.metering.shop import Shop, image_spec

OCTOBER = datetime(2026, 10, 10, tzinfo=UTC)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
HOLD_NANOS = 5_000_000
# The words a person may write, by the place: none may be part of another.
WORDS = {
    "prompt": "sentinelprompt",
    "negative prompt": "sentinelnegative",
    "label of an image": "sentinelimagelabel",
    "label of a job": "sentineljoblabel",
    "name of a job": "sentineljobname",
    "reference": "sentinelclientref",
    "project": "sentinelproject",
    "name of a key": "sentinelkeyname",
    "project of a key": "sentinelkeyproject",
    "budget": "sentinelbudget",
    "display name": "sentineldisplayname",
    "legal name": "sentinellegalname",
    "address": "sentineladdress",
    "VAT id": "sentinelvatid",
    "name of a binding": "sentinelbindingname",
    "person who is bound": "sentinelperson",
    "trace": "sentineltrace",
    "failure": "sentinelfailure",
}


async def leave_words(shop: Shop, objects: Path) -> None:
    """Draw two pictures with all the words there are, and let them be invoiced and paid."""
    await shop.set_budget(WORDS["budget"], project=WORDS["project"])
    await _order(shop)
    await _names(shop)
    for _ in range(2):
        await shop.draw(await shop.claim())
    await shop.fail()
    await _store_pictures(shop, objects)
    await shop.without_guards(
        "UPDATE images SET traceparent = %s, failure_message = %s WHERE tenant_id = %s",
        WORDS["trace"],
        WORDS["failure"],
        shop.tenant_id,
    )


async def settle(shop: Shop) -> None:
    """Roll up, invoice, pay, give back what is left, seal; suspend."""
    await shop.open_since(OCTOBER)
    await shop.grant_early(OCTOBER)
    await shop.without_guards(
        "UPDATE usage_records SET charge_time = %s WHERE tenant_id = %s", OCTOBER, shop.tenant_id
    )
    await shop.without_guards(
        "UPDATE transfers SET create_time = %s WHERE tenant_id = %s", OCTOBER, shop.tenant_id
    )
    await shop.as_role("atelier_housekeeper")
    await roll_up_anew(
        shop.connection, TenantClock(tenant_id=shop.tenant_id, time_zone="Europe/Berlin")
    )
    invoice = await shop.finalize("2026-10", now=NOW)
    await record_payment(
        shop.connection,
        tenant_id=shop.tenant_id,
        invoice_id="2026-10",
        amount_nanos=invoice.due_nanos,
        payment_time=NOW,
        reference="wire 1",
    )
    left = await prepaid_nanos(shop.connection, tenant_id=shop.tenant_id, currency="EUR")
    await refund_credit(
        shop.connection,
        tenant_id=shop.tenant_id,
        amount_nanos=left,
        currency="EUR",
        reference="wire 2",
        request_id=None,
    )
    await shop.connection.execute(
        "UPDATE tenants SET state = 'SUSPENDED' WHERE tenant_id = %s", [shop.tenant_id]
    )
    await shop.without_guards(
        "UPDATE worker_sessions SET end_time = now() WHERE tenant_id = %s", shop.tenant_id
    )
    await shop.as_role("atelier_housekeeper")
    await seal_block(shop.connection, shop.tenant_id)


async def ask_to_leave(shop: Shop) -> None:
    """What DeleteTenant does."""
    await shop.as_role("atelier_operator")
    await lock_tenant_alone(shop.connection, shop.tenant_id)
    await begin_deletion(shop.connection, shop.tenant_id)
    await shop.become(shop.connection, None)
    await shop.connection.commit()


async def dumped(connection: AsyncConnection[TupleRow]) -> dict[str, bytes]:
    """Read every table of the database, as pg_dump would write it."""
    await connection.rollback()
    tables = await connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    found: dict[str, bytes] = {}
    for (table,) in await tables.fetchall():
        whole = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))
        async with connection.cursor() as cursor, cursor.copy(whole) as copy:
            found[table] = b"".join([bytes(part) async for part in copy])
    await connection.rollback()
    return found


def places(dump: dict[str, bytes]) -> dict[str, set[str]]:
    """Say in which tables each word is found."""
    return {
        place: tables
        for place, word in WORDS.items()
        if (tables := {table for table, rows in dump.items() if word.encode() in rows})
    }


async def _order(shop: Shop) -> None:
    await shop.as_role("atelier_gateway")
    spec = replace(image_spec(), prompt=WORDS["prompt"], negative_prompt=WORDS["negative prompt"])
    job = await job_store.create_job(
        shop.connection,
        NewJob(
            tenant_id=shop.tenant_id,
            key_id=KeyId("k1"),
            display_name=WORDS["name of a job"],
            tier=Tier.BATCH,
            project=WORDS["project"],
            labels={"who": WORDS["label of a job"]},
            price_id=shop.price.price_id,
            currency="EUR",
            images=tuple(
                NewImage(
                    spec=spec,
                    hold_nanos=HOLD_NANOS,
                    labels={WORDS["label of an image"]: "x"},
                    client_ref=f"{WORDS['reference']}-{number}",
                )
                for number in range(2)
            ),
        ),
    )
    await attendance_store.attend(shop.connection, tenant_id=shop.tenant_id, job_id=job.job_id)
    await claim_request(
        shop.connection,
        tenant_id=shop.tenant_id,
        request_id=UUID(int=hash(shop.tenant_id) % 2**64),
        method="CreateJob",
        body_sha256=bytes(32),
    )


async def _names(shop: Shop) -> None:
    await shop.as_role("atelier_operator")
    await insert_key(
        shop.connection,
        KeyToStore(
            tenant_id=shop.tenant_id,
            key_id=KeyId(f"key{shop.tenant_id.replace('-', '')}"),
            display_name=WORDS["name of a key"],
            role=Role.MEMBER,
            project=WORDS["project of a key"],
            secret_hmac=bytes(32),
            allowed_networks=[],
            expire_time=None,
        ),
    )
    await insert_binding(
        shop.connection,
        BindingToStore(
            tenant_id=shop.tenant_id,
            binding_id=BindingId("b1"),
            claim=IdentityClaim(
                issuer="https://people.example",
                claim="sub",
                claim_value=f"{WORDS['person who is bound']}-{shop.tenant_id}",
            ),
            role=Role.MEMBER,
            project="",
            display_name=WORDS["name of a binding"],
            allowed_networks=[],
        ),
    )
    await accounts.set_credit_limit(
        shop.connection, tenant_id=shop.tenant_id, currency="EUR", credit_limit_nanos=1
    )
    await shop.connection.execute(
        "UPDATE tenants SET display_name = %s, legal_name = %s, postal_address = %s, vat_id = %s"
        " WHERE tenant_id = %s",
        [
            WORDS["display name"],
            WORDS["legal name"],
            WORDS["address"],
            WORDS["VAT id"],
            shop.tenant_id,
        ],
    )


async def _store_pictures(shop: Shop, objects: Path) -> None:
    await shop.become(shop.connection, None)
    found = await shop.connection.execute(
        "UPDATE pictures SET store_time = now() WHERE tenant_id = %s RETURNING object_path",
        [shop.tenant_id],
    )
    for (path,) in await found.fetchall():
        (objects / path).parent.mkdir(parents=True, exist_ok=True)
        (objects / path).write_bytes(b"a picture")
