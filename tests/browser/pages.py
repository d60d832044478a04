"""Every page there is, by who sees it: for what must hold on all of them."""

from dataclasses import dataclass
from typing import Final

from tests.browser.seeding import Seeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A page, and the name of its picture."""

    name: str
    path: str


TENANTS_PAGES: Final = (
    Shown(name="overview", path="/"),
    Shown(name="jobs", path="/jobs"),
    Shown(name="new-job", path="/jobs/new"),
    Shown(name="job", path="/jobs/{job}"),
    Shown(name="usage", path="/usage"),
    Shown(name="usage-by-project", path="/usage?by=project"),
    Shown(name="invoices", path="/invoices"),
    Shown(name="invoice", path="/invoices/current"),
    Shown(name="api-keys", path="/keys"),
    Shown(name="budgets", path="/budgets"),
    Shown(name="audit", path="/audit"),
    Shown(name="refused", path="/nowhere"),
)
OPERATORS_PAGES: Final = (
    Shown(name="gpus", path="/operator"),
    Shown(name="workers", path="/operator/workers"),
    Shown(name="backlog", path="/operator/backlog"),
    Shown(name="tenants", path="/operator/tenants"),
    Shown(name="tenant", path="/operator/tenants/acme"),
    Shown(name="prices", path="/operator/prices"),
    Shown(name="margins", path="/operator/margins"),
    Shown(name="energy", path="/operator/energy"),
    Shown(name="operator-audit", path="/operator/audit"),
)


def path_of(page: Shown, seeded: Seeded) -> str:
    return page.path.replace("{job}", seeded.job_id)
