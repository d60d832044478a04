"""What an operator does with invoices, from the command line to the ledger and back."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

import atelier
from atelier.cli.main import run
from atelier.v1 import billing_service_pb2, money_pb2
from tenants.ids import TenantId
from tests.integration.fixture_types import Pools
from tests.integration.services.gateway.drawing import Drawer, recorder_for_gateways
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    flat_price,
    refusal,
    spec,
)

pytestmark = pytest.mark.integration

# Two months back: the last month's grace may not be over.
ENDED = (datetime.now(UTC).replace(day=1) - timedelta(days=32)).replace(day=10)
INVOICE = f"{ENDED:%Y-%m}"


@pytest.fixture
async def drawer(
    gateway: ServedGateway, acme: Studio, pools: Pools, short_directory: Path
) -> AsyncGenerator[Drawer]:
    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory) as spool,
    ):
        yield Drawer(pool=pool, tenant_id=TenantId(acme.tenant_id), spool=spool)


@pytest.fixture
async def sold(gateway: ServedGateway, acme: Studio, drawer: Drawer) -> Studio:
    """Three dollars of pictures, two months ago; what was granted was granted only later."""
    await gateway.operator.billing.CreatePriceVersion(
        billing_service_pb2.CreatePriceVersionRequest(
            price_version=flat_price(1_000_000_000), request_id=str(uuid4())
        )
    )
    await acme.member.jobs.CreateJob(create_job(spec(3)))
    for _ in range(3):
        await drawer.succeed(await drawer.claim())
    async with await psycopg.AsyncConnection.connect(gateway.admin_url) as connection:
        await connection.execute("SET session_replication_role = replica")
        values = {"time": ENDED, "tenant": acme.tenant_id}
        await connection.execute(
            "UPDATE usage_records SET charge_time = %(time)s WHERE tenant_id = %(tenant)s", values
        )
        await connection.execute(
            "UPDATE transfers SET create_time = %(time)s "
            "WHERE tenant_id = %(tenant)s AND image_id IS NOT NULL",
            values,
        )
        await connection.execute(
            "UPDATE tenants SET create_time = %(time)s WHERE tenant_id = %(tenant)s", values
        )
    return acme


async def command(
    gateway: ServedGateway, capsys: pytest.CaptureFixture[str], *arguments: str
) -> dict[str, Any]:
    """Run `atelier admin invoices …` as the operator; it must succeed."""
    assert gateway.operator.key is not None
    flags = ["--address", gateway.address, "--api-key", gateway.operator.key, "--format", "json"]
    capsys.readouterr()
    code = await asyncio.to_thread(run, [*flags, "admin", "invoices", *arguments])
    told = capsys.readouterr()
    assert code == 0, told.err
    # The gateway serves in this process and logs beside it.
    return json.loads(told.out[told.out.index("\n{") if "\n{" in told.out else 0 :])


async def test_an_invoice_is_finalized_corrected_and_paid_from_the_command_line(
    gateway: ServedGateway, sold: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = await command(gateway, capsys, "finalize", sold.tenant_id, INVOICE)
    note = await command(
        gateway, capsys, "credit-note", sold.tenant_id, INVOICE, "0.50", "--reason", "blurred"
    )
    paid = await command(gateway, capsys, "pay", sold.tenant_id, INVOICE, "2.50")
    seen = await sold.admin.billing.GetInvoice(
        billing_service_pb2.GetInvoiceRequest(name=f"tenants/-/invoices/{INVOICE}")
    )

    assert (sent["state"], sent["invoice_number"]) == ("INVOICE_STATE_FINALIZED", "1")
    assert sent["due"] == {"currency_code": "USD", "nanos": "3000000000"}
    assert note["credit_note_number"] == "1"
    assert paid["state"] == "INVOICE_STATE_PAID"
    assert seen.state == billing_service_pb2.INVOICE_STATE_PAID
    assert [item.reason for item in seen.credit_notes] == ["blurred"]
    assert seen.credit_notes[0].name == f"{seen.name}/creditNotes/1"
    assert seen.payment_time.seconds > 0
    assert seen.due.nanos == 0


async def test_a_void_invoice_gives_the_wallet_back_what_it_took(
    gateway: ServedGateway, sold: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    await command(gateway, capsys, "finalize", sold.tenant_id, INVOICE)
    voided = await command(
        gateway, capsys, "void", sold.tenant_id, INVOICE, "--reason", "wrong price"
    )
    balance = await sold.member.billing.GetBalance(
        billing_service_pb2.GetBalanceRequest(name="tenants/-/balance")
    )

    assert voided["state"] == "INVOICE_STATE_VOID"
    assert balance.posted.nanos == 10**12


async def test_a_call_sent_again_gets_the_first_answer_and_a_new_one_is_refused(
    gateway: ServedGateway, sold: Studio
) -> None:
    assert gateway.operator.key is not None
    async with atelier.AsyncClient(
        gateway.address, api_key=gateway.operator.key, tenant=sold.tenant_id
    ) as client:
        request_id = str(uuid4())
        first = await client.finalize_invoice(INVOICE, request_id=request_id)
        again = await client.finalize_invoice(INVOICE, request_id=request_id)
        due = money_pb2.Money(currency_code="USD", nanos=1_000_000_000)
        note_id = str(uuid4())
        notes = [
            await client.create_credit_note(INVOICE, due, reason="late", request_id=note_id)
            for _ in range(2)
        ]

    billing = gateway.operator.billing
    name = f"tenants/{sold.tenant_id}/invoices/{INVOICE}"
    twice = await refusal(
        billing.FinalizeInvoice(
            billing_service_pb2.FinalizeInvoiceRequest(name=name, request_id=str(uuid4()))
        )
    )
    wrong_amount = await refusal(
        billing.RecordPayment(
            billing_service_pb2.RecordPaymentRequest(name=name, amount=due, request_id=str(uuid4()))
        )
    )
    due.currency_code = "EUR"
    wrong_currency = await refusal(
        billing.RecordPayment(
            billing_service_pb2.RecordPaymentRequest(name=name, amount=due, request_id=str(uuid4()))
        )
    )

    assert first == again
    assert notes[0] == notes[1]
    assert (twice.code, twice.reason) == ("FAILED_PRECONDITION", "INVALID_STATE_TRANSITION")
    assert twice.metadata == {"state": "FINALIZED"}
    assert (wrong_amount.code, wrong_amount.fields) == ("INVALID_ARGUMENT", ["amount"])
    assert wrong_amount.message == "amount: the invoice has 2 USD left"
    assert wrong_currency.fields == ["amount.currency_code"]


async def test_a_running_period_is_not_finalized_and_an_unknown_one_not_found(
    gateway: ServedGateway, acme: Studio
) -> None:
    async def finalize(tenant_id: str, invoice_id: str) -> tuple[str, str]:
        name = f"tenants/{tenant_id}/invoices/{invoice_id}"
        refused = await refusal(
            gateway.operator.billing.FinalizeInvoice(
                billing_service_pb2.FinalizeInvoiceRequest(name=name, request_id=str(uuid4()))
            )
        )
        return refused.code, refused.reason

    running = f"{datetime.now(UTC):%Y-%m}"
    assert await finalize(acme.tenant_id, running) == (
        "FAILED_PRECONDITION",
        "INVALID_STATE_TRANSITION",
    )
    assert await finalize(acme.tenant_id, "1999-01") == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    assert await finalize("nobody", running) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
