"""Every page: its address, what it shows, and whose it is. A test walks through this table."""

from typing import Final

from services.console.navigation import ADMINS, MEMBERS, OPERATORS
from services.console.pages import (
    audit,
    backlog,
    budgets,
    fleet,
    invoices,
    job,
    jobs,
    keys,
    margins,
    new_job,
    overview,
    pictures,
    preferences,
    prices,
    reconciliation,
    tenants,
    usage,
)
from services.console.visit import Page

_EVERYBODY: Final = MEMBERS | OPERATORS

PAGES: Final = (
    Page(method="GET", path="/", show=overview.overview, roles=_EVERYBODY),
    Page(method="GET", path="/live", show=overview.overview_live, roles=MEMBERS, by_itself=True),
    Page(method="GET", path="/jobs", show=jobs.jobs, roles=MEMBERS),
    # Before the job of an id: these are no ids.
    Page(method="GET", path="/jobs/new", show=new_job.new_job, roles=MEMBERS),
    Page(method="POST", path="/jobs/new", show=new_job.order_job, roles=MEMBERS),
    Page(method="POST", path="/jobs/quote", show=new_job.quote, roles=MEMBERS),
    Page(method="GET", path="/jobs/{job}", show=job.job, roles=MEMBERS),
    Page(method="GET", path="/jobs/{job}/live", show=job.job_live, roles=MEMBERS, by_itself=True),
    Page(method="POST", path="/jobs/{job}/cancel", show=job.cancel_job, roles=MEMBERS),
    Page(method="POST", path="/jobs/{job}/retry", show=job.retry_job, roles=MEMBERS),
    Page(method="GET", path="/jobs/{job}/pictures.zip", show=pictures.archive, roles=MEMBERS),
    Page(method="GET", path="/jobs/{job}/images/{image}", show=pictures.image, roles=MEMBERS),
    Page(
        method="GET",
        path="/jobs/{job}/images/{image}/picture",
        show=pictures.picture,
        roles=MEMBERS,
    ),
    Page(
        method="GET",
        path="/jobs/{job}/images/{image}/thumbnail",
        show=pictures.thumbnail,
        roles=MEMBERS,
        by_itself=True,
    ),
    Page(
        method="GET",
        path="/jobs/{job}/images/{image}/preview",
        show=pictures.preview,
        roles=MEMBERS,
        by_itself=True,
    ),
    Page(method="GET", path="/usage", show=usage.usage, roles=MEMBERS),
    Page(method="GET", path="/usage/export/{kind}", show=usage.export, roles=MEMBERS),
    Page(method="GET", path="/invoices", show=invoices.invoices, roles=ADMINS),
    Page(method="GET", path="/invoices/{period}", show=invoices.invoice, roles=ADMINS),
    Page(method="GET", path="/invoices/{period}/{kind}", show=invoices.invoice_file, roles=ADMINS),
    Page(method="GET", path="/keys", show=keys.keys, roles=ADMINS),
    Page(method="POST", path="/keys", show=keys.create_key, roles=ADMINS),
    Page(method="POST", path="/keys/{key}/rotate", show=keys.rotate_key, roles=ADMINS),
    Page(method="POST", path="/keys/{key}/revoke", show=keys.revoke_key, roles=ADMINS),
    Page(method="GET", path="/budgets", show=budgets.budgets, roles=ADMINS),
    Page(method="POST", path="/budgets", show=budgets.set_budget, roles=ADMINS),
    Page(method="GET", path="/audit", show=audit.audit, roles=ADMINS),
    Page(method="GET", path="/operator", show=fleet.gpus, roles=OPERATORS),
    Page(
        method="GET", path="/operator/live", show=fleet.gpus_live, roles=OPERATORS, by_itself=True
    ),
    Page(method="GET", path="/operator/workers", show=fleet.workers, roles=OPERATORS),
    Page(method="POST", path="/operator/workers/{gpu}/drain", show=fleet.drain, roles=OPERATORS),
    Page(method="GET", path="/operator/backlog", show=backlog.backlog, roles=OPERATORS),
    Page(method="GET", path="/operator/tenants", show=tenants.tenants, roles=OPERATORS),
    Page(method="POST", path="/operator/tenants", show=tenants.create_tenant, roles=OPERATORS),
    Page(method="GET", path="/operator/tenants/{tenant}", show=tenants.tenant, roles=OPERATORS),
    Page(
        method="POST",
        path="/operator/tenants/{tenant}",
        show=tenants.change_tenant,
        roles=OPERATORS,
    ),
    Page(
        method="POST",
        path="/operator/tenants/{tenant}/credit",
        show=tenants.grant_credit,
        roles=OPERATORS,
    ),
    Page(
        method="POST",
        path="/operator/tenants/{tenant}/refund",
        show=tenants.refund_credit,
        roles=OPERATORS,
    ),
    Page(
        method="POST",
        path="/operator/tenants/{tenant}/suspend",
        show=tenants.suspend,
        roles=OPERATORS,
    ),
    Page(
        method="POST",
        path="/operator/tenants/{tenant}/resume",
        show=tenants.resume,
        roles=OPERATORS,
    ),
    Page(method="GET", path="/operator/prices", show=prices.prices, roles=OPERATORS),
    Page(method="POST", path="/operator/prices", show=prices.create_price, roles=OPERATORS),
    Page(method="GET", path="/operator/margins", show=margins.margins, roles=OPERATORS),
    Page(method="GET", path="/operator/energy", show=reconciliation.energy, roles=OPERATORS),
    Page(method="GET", path="/operator/audit", show=audit.audit, roles=OPERATORS),
    Page(method="POST", path="/theme", show=preferences.theme, roles=_EVERYBODY),
)
