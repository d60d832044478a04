"""A studio's life from its first picture to its deletion, and what is found of it afterwards.

One whole installation; `pg_dump` and a look into every file say what is left. It takes a minute, so
it belongs to `make test-long`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql

import atelier
from atelier.errors import CallError, InvalidStateTransitionError
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.billing_service_pb2 import Budget, BudgetPeriod
from atelier.v1.image_pb2 import ImageSpec
from atelier.v1.job_service_pb2 import JobSpec, JobState
from atelier.v1.money_pb2 import Money
from atelier.v1.tenant_service_pb2 import Tenant, TenantState
from services.standalone.directories import DataDirectory, make_run_directory
from services.standalone.embedded_postgres import ADMINISTRATOR, DATABASE
from services.standalone.postgres_binaries import find_postgres_binaries
from tenants.run_directory import RunDirectory
from tests.e2e.installations import Up, eventually, processes_of
from tests.e2e.studios import address_of, open_studio
from tests.e2e.test_survival import CATALOGUE

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(400)]

LEAVER, NEIGHBOUR = "acme", "acme-2"
PATIENCE_SECONDS: Final = 120.0
WORDS: Final = {
    "prompt": "sentinelprompt",
    "negative prompt": "sentinelnegative",
    "label": "sentinellabel",
    "reference": "sentinelreference",
    "job": "sentineljob",
    "project": "sentinelproject",
    "key": "sentinelkey",
    "budget": "sentinelbudget",
    "name": "sentinelname",
    "legal name": "sentinellegal",
    "address": "sentineladdress",
    "VAT id": "sentinelvat",
}
# What was sent stays as it was sent. An audit event names the budget that was set, and nobody
# changes that log.
KEPT: Final = {
    "project": {"invoices"},
    "legal name": {"invoices"},
    "address": {"invoices"},
    "VAT id": {"invoices"},
    "budget": {"audit_events"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An installation, and what only its machine's owner can see and do."""

    up: Up
    data: DataDirectory
    run: RunDirectory

    @property
    def admin_url(self) -> str:
        password = (self.data.secrets / "postgres_administrator").read_text().strip()
        socket = self.run.path / "postgres"
        return f"postgresql://{ADMINISTRATOR}:{password}@/{DATABASE}?host={socket}&port=5432"

    def client(self, tenant: str, *, key: str | None = None) -> atelier.Client:
        return atelier.Client(
            address_of(self.up), api_key=key or self.up.operator_key, tenant=tenant
        )

    def dump(self) -> dict[str, str]:
        """The database as `pg_dump` writes it, by table."""
        dumped = subprocess.run(
            [find_postgres_binaries().folder / "pg_dump", "--data-only", self.admin_url],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        parts = re.split(r"^COPY public\.(\w+) ", dumped, flags=re.MULTILINE)
        return dict(zip(parts[1::2], parts[2::2], strict=True))

    def places(self) -> dict[str, set[str]]:
        """In which tables each word is found."""
        dump = self.dump()
        return {
            place: tables
            for place, word in WORDS.items()
            if (tables := {table for table, rows in dump.items() if word in rows})
        }

    def files_with_words(self) -> list[Path]:
        """Files outside of PostgreSQL that hold a word, or are named after the one who left."""
        words = [word.encode() for word in WORDS.values()]
        found: list[Path] = []
        for top in (self.up.directory, self.run.path):
            for path in top.rglob("*"):
                if self.data.postgres in path.parents or self.run.path / "postgres" in path.parents:
                    continue
                with suppress(OSError):
                    text = path.read_bytes() if path.is_file() else b""
                    if LEAVER in path.parts or any(word in text for word in words):
                        found.append(path)
        return found


@pytest.fixture(scope="module")
def site() -> Generator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="atelier-up-"))
    directory.chmod(0o755)
    (directory / "models.toml").write_text(CATALOGUE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATELIER_HOUSEKEEPER_DELETION_GRACE_SECONDS", "1")
        patch.setenv("ATELIER_HOUSEKEEPER_DELETION_SECONDS", "1")
        up = Up(directory).runs()
    data = DataDirectory(directory / "data")
    yield Site(up=up, data=data, run=make_run_directory(data.path))
    up.stop()
    for process in processes_of(directory):
        process.kill()
    shutil.rmtree(directory)


def work(site: Site, tenant: str, key: str) -> None:
    """Name all that can be named, and have two pictures drawn."""
    with site.client(tenant) as operator:
        named = Tenant(
            name=f"tenants/{tenant}",
            display_name=WORDS["name"],
            legal_name=WORDS["legal name"],
            postal_address=WORDS["address"],
            vat_id=WORDS["VAT id"],
        )
        operator.update_tenant(named, ["display_name", "legal_name", "postal_address", "vat_id"])
        operator.create_api_key(
            ApiKey(role=KeyRole.KEY_ROLE_ADMIN, display_name=WORDS["key"], project=WORDS["project"])
        )
        operator.set_budget(
            Budget(
                name=f"tenants/{tenant}/budgets/{WORDS['budget']}",
                project=WORDS["project"],
                period=BudgetPeriod.BUDGET_PERIOD_MONTH,
                limit=Money(currency_code="EUR", nanos=10**12),
            )
        )
    with site.client(tenant, key=key) as studio:
        job = studio.order_job(
            [
                JobSpec(
                    image=ImageSpec(
                        prompt=WORDS["prompt"],
                        negative_prompt=WORDS["negative prompt"],
                        width=64,
                        height=64,
                        num_inference_steps=2,
                        labels={WORDS["label"]: WORDS["label"]},
                        client_ref=f"{WORDS['reference']}-{number}",
                    )
                )
                for number in range(2)
            ],
            display_name=WORDS["job"],
            project=WORDS["project"],
            labels={"who": WORDS["label"]},
        )
        ended = studio.wait_for_job(job.name)
    assert ended.state == JobState.JOB_STATE_SUCCEEDED


def let_it_be_two_months_ago(site: Site, tenant: str, then: datetime) -> None:
    """A month can be invoiced once it is over, so all of the tenant's happened in one that is.

    The housekeeper stands still meanwhile, and seals what is unsealed again afterwards.
    """
    housekeeper = site.up.process_id("housekeeper")
    os.kill(housekeeper, signal.SIGSTOP)
    try:
        with psycopg.connect(site.admin_url) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in (
                "UPDATE tenants SET create_time = %(then)s WHERE tenant_id = %(tenant)s",
                "UPDATE usage_records SET charge_time = %(then)s WHERE tenant_id = %(tenant)s",
                "UPDATE transfers SET create_time = %(then)s WHERE tenant_id = %(tenant)s",
                "DELETE FROM usage_roll_up_clocks WHERE tenant_id = %(tenant)s",
                "DELETE FROM sealed_transfers WHERE tenant_id = %(tenant)s",
                "DELETE FROM ledger_blocks WHERE tenant_id = %(tenant)s",
                (
                    "INSERT INTO unsealed_transfers SELECT tenant_id, transfer_id FROM transfers "
                    " WHERE tenant_id = %(tenant)s ON CONFLICT DO NOTHING"
                ),
            ):
                connection.execute(statement, {"tenant": tenant, "then": then})
    finally:
        os.kill(housekeeper, signal.SIGCONT)


def stored(site: Site) -> bool:
    with psycopg.connect(site.admin_url) as connection:
        waiting = connection.execute("SELECT count(*) FROM pictures WHERE store_time IS NULL")
        return waiting.fetchone() == (0,)


def test_a_studio_that_left_is_found_nowhere_and_its_books_still_add_up(site: Site) -> None:
    then = (datetime.now(UTC).replace(day=1) - timedelta(days=40)).replace(day=15)
    month = f"{then:%Y-%m}"
    keys = {tenant: open_studio(site.up, tenant) for tenant in (LEAVER, NEIGHBOUR)}
    work(site, LEAVER, keys[LEAVER])
    work(site, NEIGHBOUR, keys[NEIGHBOUR])
    assert set(site.places()) == set(WORDS)
    let_it_be_two_months_ago(site, LEAVER, then)
    assert eventually(lambda: stored(site), seconds=PATIENCE_SECONDS)

    with site.client(LEAVER) as operator:
        with pytest.raises(InvalidStateTransitionError) as refused:
            operator.delete_tenant(LEAVER)
        assert [violation.rule for violation in refused.value.violations] == [
            "NOT_SUSPENDED",
            "UNINVOICED_USAGE",
            "CREDIT_LEFT",
        ]
        operator.suspend_tenant(LEAVER)
        invoice = operator.finalize_invoice(month)
        operator.record_payment(month, invoice.due, reference="wire 1")
        left = operator.get_balance().posted
        operator.refund_credit(left, reference="wire 2")
        delete_by_command(site)
    os.kill(site.up.process_id("housekeeper"), signal.SIGKILL)

    def gone() -> bool:
        with site.client(LEAVER) as operator:
            state = operator.get_tenant(LEAVER).state
        return state == TenantState.TENANT_STATE_DELETED

    assert eventually(gone, seconds=PATIENCE_SECONDS), site.up.output()
    expect_neighbour_untouched(site, keys[NEIGHBOUR])
    expect_no_way_back(site, keys[LEAVER])
    expect_books(site, month)
    forget_neighbour(site)
    assert site.places() == KEPT
    assert site.files_with_words() == []


def delete_by_command(site: Site) -> None:
    """As an operator does: who types another id deletes nothing."""
    for typed, answer in (("another", 2), (LEAVER, 0)):
        finished = subprocess.run(
            [Path(sys.executable).with_name("atelier"), "admin", "tenants", "delete", LEAVER],
            env={
                **os.environ,
                "ATELIER_ADDRESS": address_of(site.up),
                "ATELIER_API_KEY": site.up.operator_key,
            },
            input=f"{typed}\n",
            capture_output=True,
            check=False,
            text=True,
        )
        assert finished.returncode == answer, finished.stderr


def expect_neighbour_untouched(site: Site, key: str) -> None:
    with site.client(NEIGHBOUR, key=key) as studio:
        jobs = list(studio.list_jobs())
        images = [image for job in jobs for image in studio.list_images(job.name)]
        assert [image.spec.prompt for image in images] == [WORDS["prompt"]] * 2
        assert all(studio.download_image(image.name) for image in images)
        job = studio.order_job([JobSpec(image=ImageSpec(prompt="a vase", width=64, height=64))])
        ended = studio.wait_for_job(job.name)
    assert ended.state == JobState.JOB_STATE_SUCCEEDED


def expect_no_way_back(site: Site, key: str) -> None:
    with site.client(LEAVER, key=key) as studio, pytest.raises(CallError) as refused:
        studio.get_tenant()
    assert refused.value.status.code == "UNAUTHENTICATED"
    with site.client(LEAVER) as operator:
        for call in (operator.resume_tenant, operator.suspend_tenant):
            with pytest.raises(InvalidStateTransitionError):
                call(LEAVER)
        with pytest.raises(CallError) as taken:
            operator.create_tenant(LEAVER, Tenant(display_name="x", currency_code="EUR"))
        assert taken.value.status.code == "ALREADY_EXISTS"
        operator.delete_tenant(LEAVER)


def expect_books(site: Site, month: str) -> None:
    with site.client(LEAVER) as operator:
        proof = operator.verify_ledger()
        printed = operator.download_invoice(month)
        findings = operator.verify_installation()
    assert (proof.consistent, proof.first_inconsistency) == (True, "")
    assert printed.data.startswith(b"%PDF")
    assert findings


def forget_neighbour(site: Site) -> None:
    """Its words are the same ones: take them out of the way."""
    with psycopg.connect(site.admin_url) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in (
            *("images", "jobs", "tenants", "api_keys", "budgets", "budget_periods"),
            *("budget_alerts", "job_budgets", "usage_records", "usage_roll_ups", "audit_events"),
        ):
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(sql.Identifier(table)),
                [NEIGHBOUR],
            )
