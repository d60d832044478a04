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
from typing import Final

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


async def accept(pool: Pool, tenant_id: TenantId, price_id: PriceId) -> None:
    """Order one image."""
    job = NewJob(
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
    async with tenant_transaction(pool, tenant_id) as conn:
        await job_store.create_job(conn, job)


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


async def measure(postgres: Postgres, *, seconds: float) -> dict[str, float]:
    """Run all questions against one server."""
    async with (
        open_pool(postgres.url("atelier_operator"), size_max=2) as operator,
        open_pool(postgres.url("atelier_gateway"), size_max=16) as gateway,
        open_pool(postgres.url("atelier_housekeeper"), size_max=2) as housekeeper,
    ):
        ids = [TenantId(f"t-{secrets.token_hex(4)}") for _ in range(8)]
        tenants = [(name, await open_tenant(operator, gateway, name)) for name in ids]
        results = {
            "accepts_per_second_1_submitter": await accepts_per_second(
                gateway, tenants[:1], submitters=1, seconds=seconds
            ),
            "accepts_per_second_16_submitters_1_tenant": await accepts_per_second(
                gateway, tenants[:1], submitters=16, seconds=seconds
            ),
            "accepts_per_second_16_submitters_8_tenants": await accepts_per_second(
                gateway, tenants, submitters=16, seconds=seconds
            ),
        }
        results |= await prove(gateway, housekeeper, ids[0])
    return results


async def prove(gateway: Pool, housekeeper: Pool, tenant_id: TenantId) -> dict[str, float]:
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
        "transfers_sealed_per_second": sealed / seal_seconds,
        "transfers_verified_per_second": proof.transfer_count / (time.monotonic() - start),
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
    told = {
        "command": f"python benchmarks/ledger.py --seconds {seconds:g}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "results": {name: round(value, 1) for name, value in results.items()},
    }
    RESULT.write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
