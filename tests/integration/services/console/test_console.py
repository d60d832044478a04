"""Sessions, forms, strangers' words and other tenants: what the console must withstand."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from atelier.v1.identity_service_pb2 import DeleteIdentityBindingRequest
from atelier.v1.job_service_pb2 import GetJobRequest
from services.console.pages.table import PAGES
from services.console.security import CONTENT_SECURITY_POLICY
from services.console.sessions import Role
from tests.integration.fixture_types import Postgres
from tests.integration.services.console.serving import Browser, ServedConsole, field, served_console
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    bind,
    create_job,
    running_gateway,
    spec,
)
from tests.integration.services.gateway.identity_provider import running_provider

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def admin_key(studio: Studio) -> str:
    assert studio.admin.key is not None
    return studio.admin.key


async def until_line(lines: AsyncIterator[str], wanted: str) -> None:
    async with asyncio.timeout(60):
        while wanted not in await anext(lines):
            pass


def filled(path: str) -> str:
    return path.replace("{job}", "abc").replace("{image}", "abc").replace("{", "").replace("}", "")


async def test_a_key_opens_a_session_whose_cookie_no_script_and_no_other_site_gets(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant(credit_nanos=12_340_000_000)
    async with console.browser() as browser:
        first = await browser.get("/")
        entered = await browser.log_in(admin_key(acme), next_path="/jobs")
        overview = await browser.get("/")

    assert (first.status_code, first.headers["location"]) == (303, "/login")
    assert (entered.status_code, entered.headers["location"]) == (303, "/jobs")
    cookie = next(one for one in entered.headers.get_list("set-cookie") if "session=" in one)
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert admin_key(acme) not in cookie
    assert "12.34\u00a0USD" in overview.text
    assert admin_key(acme) not in overview.text


async def test_a_token_of_an_identity_provider_opens_a_session_until_it_ends(
    postgres: Postgres, short_directory: Path, tmp_path: Path
) -> None:
    with running_provider(tmp_path) as provider:
        path = provider.issuers_file(short_directory / "issuers.toml")
        async with running_gateway(postgres, short_directory, issuers_path=path) as gateway:
            acme = await gateway.new_tenant()
            binding = await bind(gateway, acme.tenant_id, issuer=provider.url)
            async with (
                served_console(gateway.address) as console,
                console.browser(provider.token()) as browser,
            ):
                inside = await browser.get("/")
                await gateway.operator.identities.DeleteIdentityBinding(
                    DeleteIdentityBindingRequest(name=binding)
                )
                await until_logged_out(browser)

    assert inside.status_code == 200


async def until_logged_out(browser: Browser) -> None:
    async with asyncio.timeout(60):
        while (await browser.get("/")).status_code != 303:
            await asyncio.sleep(0.05)


async def test_every_answer_carries_the_security_headers_and_no_page_anything_inline(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant()
    paths = ["/login", "/nowhere", "/static/x", *(filled(page.path) for page in PAGES)]
    async with console.browser(admin_key(acme)) as browser:
        # What streams never ends; it is tried elsewhere.
        answers = [await browser.get(path) for path in paths if not path.endswith("live")]

    for answer in answers:
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", answer.text) is None


async def test_a_wrong_key_is_told_so_and_too_many_are_not_tried(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant()
    async with console.browser() as browser:
        wrong = [(await browser.log_in(key)).status_code for key in ("atl_live_x", "é", " ")]
        for _ in range(7):
            await browser.log_in("atl_live_x")
        right_key_too_late = await browser.log_in(admin_key(acme))

    assert wrong == [401, 401, 401]
    assert right_key_too_late.status_code == 429
    assert "Too many tries" in right_key_too_late.text


async def test_no_form_is_taken_without_the_token_of_its_own_session(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme, zeta = await gateway.new_tenant(), await gateway.new_tenant()
    forms = [page for page in PAGES if page.method == "POST" and Role.ADMIN in page.roles]
    async with (
        console.browser(admin_key(acme)) as browser,
        console.browser(admin_key(zeta)) as other,
    ):
        own = field((await browser.get("/")).text, "csrf_token")
        foreign = field((await other.get("/")).text, "csrf_token")
        codes = {
            (await browser.http.post(filled(form.path), data=fields, headers=headers)).status_code
            for form in forms
            for fields, headers in (
                ({"csrf_token": ""}, {}),
                ({"csrf_token": foreign}, {}),
                ({"csrf_token": own}, {"origin": "https://evil.example"}),
                ({"csrf_token": own}, {"sec-fetch-site": "cross-site"}),
            )
        }
        out = await browser.http.post("/logout", data={"csrf_token": ""})
        still_in = await browser.get("/")

    assert codes == {403}
    assert out.status_code == 403
    assert still_in.status_code == 200


async def test_another_tenants_job_is_not_there_whatever_is_asked_of_it(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme, zeta = await gateway.new_tenant(), await gateway.new_tenant()
    job = await zeta.member.jobs.CreateJob(create_job(spec(prompt="zeta's secret mug")))
    job_id = job.name.rpartition("/")[2]
    paths = [
        page.path.replace("{job}", job_id).replace("{image}", "abc")
        for page in PAGES
        if "{job}" in page.path and page.method == "GET"
    ]
    async with console.browser(admin_key(acme)) as browser:
        answers = [await browser.get(path) for path in paths]
        cancelled = await browser.send(f"/jobs/{job_id}/cancel", of="/")
        listed = await browser.get("/jobs")

    assert {answer.status_code for answer in answers} == {404}
    assert cancelled.status_code == 404
    assert "secret mug" not in "".join(answer.text for answer in [*answers, listed])
    assert (await zeta.member.jobs.GetJob(GetJobRequest(name=job.name))).queued_count == 1


async def test_the_operators_pages_are_nobody_elses_and_show_every_tenant(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant()
    assert gateway.operator.key is not None
    paths = [
        page.path.replace("{tenant}", acme.tenant_id)
        for page in PAGES
        if page.path.startswith("/operator") and page.method == "GET" and "live" not in page.path
    ]
    async with (
        console.browser(gateway.operator.key) as operator,
        console.browser(admin_key(acme)) as tenant,
    ):
        shown = {path: (await operator.get(path)).status_code for path in paths}
        hidden = {(await tenant.get(path)).status_code for path in paths}
        listed = await operator.get("/operator/tenants")
        home = await operator.get("/")

    assert shown == dict.fromkeys(paths, 200)
    assert hidden == {404}
    assert acme.tenant_id in listed.text
    assert home.headers["location"] == "/operator"


async def test_a_member_is_told_which_pages_are_its_admins(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant()
    assert acme.member.key is not None
    async with console.browser(acme.member.key) as browser:
        codes = [(await browser.get(path)).status_code for path in ("/", "/keys", "/invoices")]
        overview = await browser.get("/")

    assert codes == [200, 403, 403]
    assert 'href="/keys"' not in overview.text


async def test_an_order_is_quoted_held_and_placed_once_however_often_its_form_is_sent(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant()
    wish = {"prompts": "a red mug\na blue mug", "size": "64x64", "steps": "2", "count": "2"}
    async with console.browser(admin_key(acme)) as browser:
        quote = await browser.send("/jobs/quote", of="/jobs/new", **wish)
        request_id = field((await browser.get("/jobs/new")).text, "request_id")
        sent = [
            await browser.send("/jobs/new", of="/jobs/new", **wish, request_id=request_id)
            for _ in range(2)
        ]
        wrong = await browser.send("/jobs/new", of="/jobs/new", prompts="a mug", steps="many")

    assert "0.004\u00a0USD" in quote.text or "0.0040\u00a0USD" in quote.text
    assert sent[0].status_code == sent[1].status_code == 303
    assert sent[0].headers["location"] == sent[1].headers["location"]
    assert wrong.status_code == 422
    assert "is not a whole number" in wrong.text


async def test_a_keys_secret_is_shown_once(console: ServedConsole, gateway: ServedGateway) -> None:
    acme = await gateway.new_tenant()
    async with console.browser(admin_key(acme)) as browser:
        request_id = field((await browser.get("/keys")).text, "request_id")
        wish = {"display_name": "Night", "role": "member", "request_id": request_id}
        made = await browser.send("/keys", of="/keys", **wish)
        again = await browser.send("/keys", of="/keys", **wish)

    assert 'id="secret">atl_live_' in made.text
    assert "atl_live_" not in again.text
    assert "not shown a second time" in again.text


async def test_what_strangers_write_is_shown_and_never_run(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant()
    job = await acme.member.jobs.CreateJob(
        create_job(
            spec(prompt=HOSTILE, client_ref=HOSTILE, labels={"note": HOSTILE}),
            display_name=HOSTILE,
            labels={"note": HOSTILE},
        )
    )
    job_path = f"/jobs/{job.name.rpartition('/')[2]}"
    async with console.browser(admin_key(acme)) as browser:
        page = await browser.get(job_path)
        image_path = re.search(r'href="(/jobs/\w+/images/\w+)"', page.text)
        assert image_path is not None
        texts = [
            (await browser.get(path)).text
            for path in ("/", "/jobs", job_path, image_path[1], "/jobs?project=" + HOSTILE)
        ]

    for text in texts:
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;" in text


async def test_a_job_of_a_thousand_images_is_shown_in_pages(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant()
    job = await acme.member.jobs.CreateJob(create_job(spec(1000, prompt="x" * 1000)))
    async with console.browser(admin_key(acme)) as browser:
        first = await browser.get(f"/jobs/{job.name.rpartition('/')[2]}")
        link = re.search(r'rel="next" href="([^"]+)"', first.text)
        assert link is not None
        second = await browser.get(link[1].replace("&amp;", "&"))

    assert first.text.count('id="image-') == 48
    assert second.text.count('id="image-') == 48
    assert len(first.content) < 300_000


async def test_a_form_that_is_too_long_is_refused_without_being_read(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant()
    async with console.browser(admin_key(acme)) as browser:
        answer = await browser.send("/theme", of="/", next="x" * 2_100_000)
        unreadable = await browser.http.post("/theme", json={"theme": "dark"})

    assert answer.status_code == 413
    assert unreadable.status_code == 415


async def test_a_revoked_key_ends_its_sessions(
    console: ServedConsole, gateway: ServedGateway
) -> None:
    acme = await gateway.new_tenant()
    async with console.browser(admin_key(acme)) as browser:
        key_id = admin_key(acme).split("_")[2]
        await gateway.change(
            "UPDATE api_keys SET revoke_time = now() WHERE key_id = %(key_id)s", key_id=key_id
        )
        codes: list[int] = []
        while not codes or codes[-1] == 200:
            codes.append((await browser.get("/jobs")).status_code)
        after = await browser.get("/")

    assert codes[-1] == 303
    assert after.headers["location"] == "/login"


async def test_a_gateway_that_is_down_is_said_so_and_found_again(
    postgres: Postgres, short_directory: Path
) -> None:
    async with AsyncExitStack() as stack:
        async with running_gateway(postgres, short_directory) as gateway:
            key = admin_key(await gateway.new_tenant())
            console = await stack.enter_async_context(served_console(gateway.address))
            browser = await stack.enter_async_context(console.browser(key))
            live = await stack.enter_async_context(browser.http.stream("GET", "/live"))
            events = live.aiter_lines()
            await until_line(events, "event: tiles")
        down = await browser.get("/jobs")
        await until_line(events, "The gateway does not answer")
        async with running_gateway(postgres, short_directory, listen_address=gateway.address):
            await until_line(events, "event: gateway")
            again = await browser.get("/jobs")

    assert down.status_code == 503
    assert "data-again-seconds" in down.text
    assert again.status_code == 200


async def test_nobody_is_shown_a_page_without_a_session(console: ServedConsole) -> None:
    async with console.browser() as browser:
        codes = {
            (await browser.http.request(page.method, filled(page.path))).status_code
            for page in PAGES
        }
        part = await browser.get("/live", accept="text/event-stream")

    assert codes == {303}
    assert part.status_code == 401
