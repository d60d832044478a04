"""How many orders a second the ledger takes, alone and in a crowd, and how fast it is proven.

    python benchmarks/ledger.py [--seconds 5]

One embedded PostgreSQL with fsync on. An acceptance is what `CreateJob` writes of a job of one
image: its rows, its first event, its hold in the wallet and in three nested budgets.
Writes benchmarks/results/ledger.json.
"""

import argparse
import asyncio
import json
import os
import platform
import secrets
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from psycopg import AsyncCursor
from psycopg.rows import TupleRow

from benchmarks.parts.server_profile import commits_per_second, profiled, told
from database.migration_runner import migrate
from database.pool import Pool, open_pool, tenant_snapshot, tenant_transaction, transaction
from database.roles import RUN_TIME_ROLES
from metering import accounts, ledger
from metering.budgets import BudgetEnforcement, BudgetPeriod, NewBudget, set_budget
from metering.ledger_chain import seal_block, verify_ledger
from metering.price_book import insert_price_version
from metering.price_document import Component, PriceComponent, PriceDocument, Tier
from services.jobs import job_store
from services.jobs.records import ImageSpec, NewImage, NewJob
from services.standalone.embedded_postgres import start_postgres
from tenants.ids import KeyId, PriceId, TenantId
from tenants.tenant_store import NewTenant, insert_tenant
from tests.integration.fixture_types import PASSWORD, Postgres

RESULT: Final = Path(__file__).parent / "results" / "ledger.json"
CONNECTIONS: Final = 16
# The pool's look, BEGIN, the tenant's setting, COMMIT.
OUTSIDE_STATEMENTS: Final = 4
COUNTED: Final[list[object]] = []
PRICE: Final = PriceDocument(
    currency="EUR",
    components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=1_000),),
)
SPEC: Final = ImageSpec(
    model="mini",
    prompt="a red mug",
    negative_prompt="",
    width=64,
    height=64,
    num_inference_steps=4,
    guidance_scale=4.5,
    seed=1,
    max_sequence_length=77,
    output_format="PNG",
    output_quality=90,
)


class CountingCursor(AsyncCursor[TupleRow]):
    """Notes each statement."""

    async def execute(self, query: Any, *args: Any, **options: Any) -> Self:  # noqa: ANN401
        COUNTED.append(query)
        return await super().execute(query, *args, **options)


async def open_tenant(operator: Pool, gateway: Pool, tenant_id: TenantId) -> PriceId:
    """A tenant with credit without end and three nested budgets."""
    async with transaction(operator) as conn:
        await insert_tenant(conn, NewTenant(tenant_id=tenant_id, display_name="A", currency="EUR"))
        await accounts.open_accounts(conn, tenant_id=tenant_id, currency="EUR")
        await ledger.grant_credit(
            conn,
            tenant_id=tenant_id,
            amount_nanos=10**15,
            currency="EUR",
            description="",
            request_id=None,
        )
        price = await insert_price_version(
            conn, price_book=tenant_id, effective_time=datetime.now(UTC), document=PRICE
        )
    async with tenant_transaction(gateway, tenant_id) as conn:
        for budget_id, project, key_id in (("all", "", ""), ("p", "spring", ""), ("k", "", "k1")):
            await set_budget(
                conn,
                NewBudget(
                    tenant_id=tenant_id,
                    budget_id=budget_id,
                    project=project,
                    key_id=KeyId(key_id),
                    period=BudgetPeriod.MONTH,
                    enforcement=BudgetEnforcement.HARD,
                    limit_nanos=10**15,
                    currency="EUR",
                ),
            )
    return price.price_id


def order(tenant_id: TenantId, price_id: PriceId) -> NewJob:
    """A job of one image."""
    return NewJob(
        tenant_id=tenant_id,
        key_id=KeyId("k1"),
        display_name="",
        tier=Tier.BATCH,
        project="spring",
        labels={},
        price_id=price_id,
        currency="EUR",
        images=(NewImage(spec=SPEC, hold_nanos=1_000, labels={}),),
    )


async def accept(pool: Pool, tenant_id: TenantId, price_id: PriceId) -> None:
    """Order one image."""
    async with tenant_transaction(pool, tenant_id) as conn:
        await job_store.create_job(conn, order(tenant_id, price_id))


async def accepts_per_second(
    pool: Pool, tenants: list[tuple[TenantId, PriceId]], *, submitters: int, seconds: float
) -> float:
    """Let submitters order one image after the other, spread over the tenants."""
    end = time.monotonic() + seconds
    count = 0

    async def submit(number: int) -> None:
        nonlocal count
        tenant_id, price_id = tenants[number % len(tenants)]
        while time.monotonic() < end:
            await accept(pool, tenant_id, price_id)
            count += 1

    start = time.monotonic()
    await asyncio.gather(*(submit(number) for number in range(submitters)))
    return count / (time.monotonic() - start)


async def measure(postgres: Postgres, *, seconds: float) -> dict[str, object]:
    """Run all questions against one server."""
    async with (
        open_pool(postgres.url("atelier_operator"), size_max=2) as operator,
        open_pool(postgres.url("atelier_gateway"), size_max=CONNECTIONS) as gateway,
        open_pool(postgres.url("atelier_housekeeper"), size_max=2) as housekeeper,
    ):
        ids = [TenantId(f"t-{secrets.token_hex(4)}") for _ in range(16)]
        tenants = [(name, await open_tenant(operator, gateway, name)) for name in ids]
        results: dict[str, object] = {
            "statements_of_an_accept": await count_statements(gateway, *tenants[0]),
            "commits_per_second_of_one_row": await commits_per_second(
                postgres.admin_url, seconds=seconds
            ),
        }
        for submitters, crowd in ((1, tenants[:1]), (64, tenants[:1]), (64, tenants)):
            async with profiled(postgres.admin_url) as profile:
                rate = await accepts_per_second(
                    gateway, crowd, submitters=submitters, seconds=seconds
                )
            name = f"{submitters} submitters, {len(crowd)} tenants"
            results[name] = told(profile, rate=rate)
        return results | await prove(gateway, housekeeper, ids[0])


async def count_statements(pool: Pool, tenant_id: TenantId, price_id: PriceId) -> int:
    """Count what one acceptance asks PostgreSQL for.

    With the transaction's BEGIN and COMMIT and the pool's look whether the connection lives.
    """
    COUNTED.clear()
    async with tenant_transaction(pool, tenant_id) as conn:
        conn.cursor_factory = CountingCursor
        await job_store.create_job(conn, order(tenant_id, price_id))
        conn.cursor_factory = AsyncCursor
    return len(COUNTED) + OUTSIDE_STATEMENTS


async def prove(gateway: Pool, housekeeper: Pool, tenant_id: TenantId) -> dict[str, object]:
    """Seal all that the first tenant booked, then derive it anew."""
    sealed, start = 0, time.monotonic()
    while True:
        async with transaction(housekeeper) as conn:
            count = await seal_block(conn, tenant_id)
        sealed += count
        if count == 0:
            break
    seal_seconds = time.monotonic() - start
    start = time.monotonic()
    async with tenant_snapshot(gateway, tenant_id) as conn:
        proof = await verify_ledger(conn, tenant_id)
    assert proof.first_inconsistency is None, proof.first_inconsistency
    return {
        "transfers_sealed": sealed,
        "transfers_sealed_per_second": round(sealed / seal_seconds),
        "transfers_verified_per_second": round(proof.transfer_count / (time.monotonic() - start)),
    }


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each crowd")
    seconds = parser.parse_args().seconds
    directory = Path(tempfile.mkdtemp(prefix="atelier-ledger-"))
    directory.chmod(0o755)
    server = start_postgres(
        data_directory=directory / "data",
        socket_directory=directory / "socket",
        log_path=directory / "postgres.log",
        admin_password=PASSWORD,
    )
    try:
        migrate(server.admin_url, role_passwords=dict.fromkeys(RUN_TIME_ROLES, PASSWORD))
        results = asyncio.run(measure(Postgres(admin_url=server.admin_url), seconds=seconds))
    finally:
        server.stop()
        shutil.rmtree(directory)
    written = {
        "command": f"python benchmarks/ledger.py --seconds {seconds:g}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "results": results,
    }
    RESULT.write_text(json.dumps(written, indent=2) + "\n")
    print(json.dumps(written, indent=2))


if __name__ == "__main__":
    main()
