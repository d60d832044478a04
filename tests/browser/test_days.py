"""A tenant's day and an operator's, in a real browser."""

import zipfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import PATIENCE_MILLISECONDS, log_in, visiting
from tests.browser.running import Site
from tests.browser.seeding import HOSTILE

expect.set_options(timeout=PATIENCE_MILLISECONDS)


def download(page: Page, name: str) -> Path:
    with page.expect_download() as awaited:
        page.get_by_role("link", name=name, exact=True).click()
    return awaited.value.path()


def test_a_tenants_day(browser: Browser, site: Site) -> None:
    with visiting(browser, site.url) as page:
        log_in(page, site.seeded.admin_key)
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()

        # Orders, knowing beforehand what it can cost.
        page.get_by_role("link", name="New job").first.click()
        page.get_by_label("Prompts, one a line").fill("a red teapot\na green lamp")
        page.get_by_label("Size").select_option("128x128")
        page.get_by_label("Steps").fill("4")
        page.get_by_label("Title").fill("Teapots")
        page.get_by_label("Title").blur()
        expect(page.locator("#quote")).to_contain_text("Never more than")
        page.get_by_role("button", name="Order").click()
        page.wait_for_url("**/jobs/*")
        assert not page.url.endswith("/new")

        # Watches: the page changes by itself, and is never loaded again.
        page.evaluate("window.stillTheSame = true")
        expect(page.locator(".gallery img:not(.unfinished)")).to_have_count(2)
        expect(page.locator("#summary .state").first).to_have_text("Succeeded")
        zipped = page.get_by_role("link", name="Download 2 as zip")
        expect(zipped).to_be_visible()
        assert page.evaluate("window.stillTheSame")

        # Looks, with the keyboard alone.
        page.locator(".gallery a").first.focus()
        page.keyboard.press("Enter")
        box = page.get_by_role("dialog")
        expect(box).to_contain_text("a red teapot")
        expect(box).to_contain_text("Charged, before tax")
        page.keyboard.press("ArrowRight")
        expect(box).to_contain_text("a green lamp")
        assert (
            box.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
            == 128
        )
        page.keyboard.press("Escape")
        expect(box).to_be_hidden()

        # Downloads, and has an invoice.
        pictures = zipfile.ZipFile(download(page, "Download 2 as zip"))
        assert pictures.namelist() == ["0001.png", "0002.png"]
        assert pictures.testzip() is None
        page.get_by_role("link", name="Invoices").click()
        page.get_by_role("row").nth(1).get_by_role("link").first.click()
        assert download(page, "PDF").read_bytes().startswith(b"%PDF-")
        assert b"line" in download(page, "CSV").read_bytes()[:400]


def test_an_operators_day(browser: Browser, site: Site) -> None:
    with visiting(browser, site.url) as page:
        page.on("dialog", lambda dialog: dialog.accept())
        log_in(page, site.seeded.operator_key)
        expect(page.locator(".gpus > li").first).to_be_visible()
        expect(page.locator(".gpus")).to_contain_text("draws here with atelier-mini")

        # A new studio with credit.
        page.get_by_role("link", name="Tenants").click()
        page.get_by_text("New tenant").click()
        page.get_by_label("Id", exact=True).fill("novo")
        page.get_by_label("Name", exact=True).fill("Novo")
        page.get_by_role("button", name="Make tenant").click()
        expect(page.get_by_role("heading", name="Novo")).to_be_visible()
        page.get_by_label("Amount, EUR").fill("12.50")
        page.get_by_role("button", name="Grant credit").click()
        expect(page.locator(".tiles")).to_contain_text("12.50\u00a0EUR")
        page.get_by_role("button", name="Suspend").click()
        expect(page.get_by_role("heading", name="Novo")).to_contain_text("Suspended")

        # What is earned, where the joules went, and a worker that leaves.
        page.get_by_role("link", name="Margins").click()
        expect(page.get_by_role("row").filter(has_text="acme")).to_contain_text("EUR")
        page.get_by_role("link", name="Energy").click()
        expect(page.get_by_role("heading", name="Energy reconciliation")).to_be_visible()
        page.get_by_role("link", name="Workers").click()
        page.get_by_role("button", name="Drain").first.click()
        expect(page.get_by_role("heading", name="Workers")).to_be_visible()
        page.get_by_role("link", name="Audit").click()
        expect(page.get_by_role("table")).to_contain_text("FleetService/DrainWorker")


def test_a_script_in_prompts_and_titles_is_read_and_never_run(browser: Browser, site: Site) -> None:
    with visiting(browser, site.url) as page:
        log_in(page, site.seeded.other_key)
        for path in ("/", "/jobs", f"/jobs/{site.seeded.other_job_id}"):
            page.goto(path)
            expect(page.locator("main")).to_contain_text(HOSTILE)
            assert page.title() not in {"owned", "1"}
            assert page.evaluate("document.querySelectorAll('main script, img[src=x]').length") == 0


def test_the_theme_is_what_was_chosen_whatever_the_system_says(
    browser: Browser, site: Site
) -> None:
    with visiting(browser, site.url, theme="light") as page:
        log_in(page, site.seeded.member_key)
        page.get_by_role("button", name="Dark").click()
        expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
        page.goto("/usage")

        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
