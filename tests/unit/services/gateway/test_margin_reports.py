"""The pages of one margin report are cut out of one working-out."""

from datetime import UTC, datetime

from metering.cost_book import CostBook
from metering.margins import MarginDimension, MarginFilter, MarginReport
from services.gateway.margin_reports import MarginQuestion, MarginReports
from tenants.ids import TenantId

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


class Works:
    """Counts how often a report was worked out."""

    def __init__(self) -> None:
        self.count = 0

    async def work_out(self) -> MarginReport:
        self.count += 1
        return MarginReport(CostBook(versions=()), [MarginDimension.TENANT])


def question(tenant_id: str = "acme") -> MarginQuestion:
    return MarginQuestion(
        chosen=MarginFilter(start_time=NOVEMBER, end_time=DECEMBER, tenant_id=TenantId(tenant_id)),
        group_by=(MarginDimension.TENANT,),
    )


async def test_a_page_behind_the_first_is_of_the_same_report() -> None:
    reports, works = MarginReports(), Works()

    first = await reports.report(question(), works.work_out, is_first_page=True)
    second = await reports.report(question(), works.work_out, is_first_page=False)

    assert second is first
    assert works.count == 1


async def test_a_first_page_is_always_worked_out_anew() -> None:
    reports, works = MarginReports(), Works()

    for _ in range(2):
        await reports.report(question(), works.work_out, is_first_page=True)

    assert works.count == 2


async def test_a_page_of_another_question_or_of_one_forgotten_is_worked_out() -> None:
    reports, works = MarginReports(), Works()
    names = ["one", "two", "three", "four", "five"]

    for name in names:
        await reports.report(question(name), works.work_out, is_first_page=True)
    for name in names:
        await reports.report(question(name), works.work_out, is_first_page=False)

    # Four are kept: the first was forgotten, and making it anew pushed out the next, and so on.
    assert works.count == 10
