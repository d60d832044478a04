"""Forms that are filled in well, and files: what they do at the gateway."""

from pathlib import Path

from atelier.v1 import billing_service_pb2, model_service_pb2, tenant_service_pb2
from tenants.ids import TenantId
from tests.integration.fixture_types import Pools
from tests.integration.services.console.serving import ServedConsole, field
from tests.integration.services.gateway.drawing import Drawer, recorder_for_gateways
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    refusal,
    spec,
)

MODELS = model_service_pb2.ListModelsRequest()


def secret_of(client_key: str | None) -> str:
    assert client_key is not None
    return client_key


async def balance_nanos(studio: Studio) -> int:
    wallet = billing_service_pb2.GetBalanceRequest(name="tenants/-/balance")
    return (await studio.admin.billing.GetBalance(wallet)).posted.nanos


def id_of(client_key: str | None) -> str:
    return secret_of(client_key).split("_")[2]


async def test_a_rotated_key_shows_its_new_secret_once_and_both_secrets_work(
    console: ServedConsole, gateway: ServedGateway, acme: Studio
) -> None:
    path = f"/keys/{id_of(acme.member.key)}/rotate"
    async with console.browser(acme.admin.key) as browser:
        page = await browser.get("/keys")
        wish = {"request_id": field(page.text, "request_id")}
        rotated = await browser.send(path, of="/keys", **wish)
        again = await browser.send(path, of="/keys", **wish)
        listed = await browser.get("/keys")

    assert f'action="{path}" data-ask="' in page.text
    secret = rotated.text.partition('id="secret">')[2].partition("<")[0]
    assert secret.startswith(f"atl_live_{id_of(acme.member.key)}_")
    assert secret != acme.member.key
    assert "The old secret works until" in rotated.text
    assert "atl_live_" not in again.text
    assert "not shown a second time" in again.text
    assert "old secret until" in listed.text
    assert secret not in listed.text
    for key in (secret, acme.member.key):
        assert (await gateway.client(key).models.ListModels(MODELS)).models


async def test_a_key_that_is_revoked_on_its_page_is_shown_so_and_not_rotated(
    console: ServedConsole, acme: Studio
) -> None:
    path = f"/keys/{id_of(acme.member.key)}"
    async with console.browser(acme.admin.key) as browser:
        request_id = field((await browser.get("/keys")).text, "request_id")
        revoked = await browser.send(f"{path}/revoke", of="/keys")
        listed = await browser.get("/keys")
        too_late = await browser.send(f"{path}/rotate", of="/keys", request_id=request_id)

    assert (revoked.status_code, revoked.headers["location"]) == (303, "/keys")
    assert f'action="{path}/' not in listed.text
    assert too_late.status_code == 422
    assert "atl_live_" not in too_late.text
    refused = await refusal(acme.member.models.ListModels(MODELS))
    assert refused.code == "UNAUTHENTICATED"


async def test_a_budget_is_set_as_its_form_says(console: ServedConsole, acme: Studio) -> None:
    async with console.browser(acme.admin.key) as browser:
        wish = {"name": "spring", "limit": "12.50", "period": "day", "enforcement": "soft"}
        answer = await browser.send("/budgets", of="/budgets", **wish)

    found = await acme.admin.billing.ListBudgets(
        billing_service_pb2.ListBudgetsRequest(parent="tenants/-")
    )
    assert answer.status_code == 303
    assert [
        (one.name.rpartition("/")[2], one.limit.nanos, one.period, one.enforcement)
        for one in found.budgets
    ] == [
        (
            "spring",
            12_500_000_000,
            billing_service_pb2.BUDGET_PERIOD_DAY,
            billing_service_pb2.BUDGET_ENFORCEMENT_SOFT,
        )
    ]


async def test_a_price_version_is_made_once_however_often_its_form_is_sent(
    console: ServedConsole, gateway: ServedGateway, acme: Studio
) -> None:
    # A book of its own: other tests buy from the standard one.
    book = f"book-{acme.tenant_id}"
    async with console.browser(gateway.operator.key) as browser:
        wish = {
            "price_book": book,
            "currency": "usd",
            "per_image": "0.25",
            "tax_percent": "19",
            "request_id": field((await browser.get("/operator/prices")).text, "request_id"),
        }
        sent = [
            await browser.send("/operator/prices", of="/operator/prices", **wish) for _ in range(2)
        ]
        listed = await browser.get("/operator/prices")

    assert [answer.status_code for answer in sent] == [303, 303]
    assert listed.text.count(f"<td>{book}</td>") == 1
    assert "VAT 19 %" in listed.text


async def test_a_tenant_is_changed_as_its_form_says(
    console: ServedConsole, gateway: ServedGateway, acme: Studio
) -> None:
    path = f"/operator/tenants/{acme.tenant_id}"
    wish = {
        "display_name": "Acme",
        "legal_name": "Acme Ltd",
        "time_zone": "Europe/Berlin",
        "calls_per_minute_max": "600",
        "calls_in_flight_max": "7",
        "queued_images_max": "50",
        "credit_limit": "3.50",
    }
    async with console.browser(gateway.operator.key) as browser:
        answer = await browser.send(path, of=path, **wish)
        shown = await browser.get(path)

    found = await gateway.operator.tenants.GetTenant(
        tenant_service_pb2.GetTenantRequest(name=f"tenants/{acme.tenant_id}")
    )
    assert answer.status_code == 303, answer.text
    assert (found.display_name, found.legal_name) == ("Acme", "Acme Ltd")
    assert (found.quotas.calls_per_minute_max, found.quotas.calls_in_flight_max) == (600, 7)
    assert (found.quotas.queued_images_max, found.credit_limit.nanos) == (50, 3_500_000_000)
    assert 'name="calls_in_flight_max" type="number" value="7"' in shown.text


async def test_credit_that_was_paid_back_is_booked_once_however_often_its_form_is_sent(
    console: ServedConsole, gateway: ServedGateway, acme: Studio
) -> None:
    path = f"/operator/tenants/{acme.tenant_id}"
    before = await balance_nanos(acme)
    async with console.browser(gateway.operator.key) as browser:
        page = await browser.get(path)
        wish = {
            "refund_amount": "0.000001",
            "reference": "wire 4711",
            "request_id": field(page.text, "request_id"),
        }
        sent = [await browser.send(f"{path}/refund", of=path, **wish) for _ in range(2)]
        too_much = await browser.send(
            f"{path}/refund", of=path, refund_amount="1000000", reference="wire 4712"
        )

    assert [answer.status_code for answer in sent] == [303, 303]
    assert too_much.status_code == 422
    assert before - await balance_nanos(acme) == 1_000


async def test_usage_is_downloaded_as_each_kind_of_file(
    console: ServedConsole, acme: Studio
) -> None:
    async with console.browser(acme.admin.key) as browser:
        files = {
            kind: await browser.get(f"/usage/export/{kind}") for kind in ("csv", "parquet", "focus")
        }
        unknown = await browser.get("/usage/export/pdf")

    types = {kind: file.headers["content-type"] for kind, file in files.items()}
    assert types["csv"].startswith("text/csv")
    assert types["focus"].startswith("text/csv")
    assert types["parquet"] == "application/vnd.apache.parquet"
    assert "billed_cost" in files["csv"].text.splitlines()[0]
    assert "BilledCost" in files["focus"].text.splitlines()[0]
    assert files["parquet"].content.startswith(b"PAR1")
    for file in files.values():
        assert file.headers["content-disposition"].startswith("attachment; filename=")
    assert unknown.status_code == 404


async def test_what_failed_is_ordered_again_once_however_often_its_form_is_sent(
    console: ServedConsole, acme: Studio, pools: Pools, short_directory: Path
) -> None:
    job = await acme.member.jobs.CreateJob(create_job(spec(prompt="a mug that fails")))
    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory) as spool,
    ):
        drawer = Drawer(pool=pool, tenant_id=TenantId(acme.tenant_id), spool=spool)
        await drawer.fail((await drawer.claim()).attempt)
    path = f"/jobs/{job.name.rpartition('/')[2]}"
    async with console.browser(acme.member.key) as browser:
        page = await browser.get(path)
        wish = {"request_id": field(page.text, "request_id")}
        sent = [await browser.send(f"{path}/retry", of=path, **wish) for _ in range(2)]
        again = await browser.get(sent[0].headers["location"])

    assert "Order the 1 failed again" in page.text
    assert [answer.status_code for answer in sent] == [303, 303]
    assert sent[0].headers["location"] == sent[1].headers["location"] != path
    assert "a mug that fails" in again.text
