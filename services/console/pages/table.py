"""Every page: its address, what it shows, and whose it is. A test walks through this table."""

from typing import Final

from services.console.navigation import MEMBERS, OPERATORS
from services.console.pages import job, jobs, overview, pictures, preferences
from services.console.visit import Page

_EVERYBODY: Final = MEMBERS | OPERATORS

PAGES: Final = (
    Page(method="GET", path="/", show=overview.overview, roles=_EVERYBODY),
    Page(method="GET", path="/live", show=overview.overview_live, roles=MEMBERS, by_itself=True),
    Page(method="GET", path="/jobs", show=jobs.jobs, roles=MEMBERS),
    Page(method="GET", path="/jobs/{job}", show=job.job, roles=MEMBERS),
    Page(method="GET", path="/jobs/{job}/live", show=job.job_live, roles=MEMBERS, by_itself=True),
    Page(
        method="GET",
        path="/jobs/{job}/actions",
        show=job.job_actions,
        roles=MEMBERS,
        by_itself=True,
    ),
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
    Page(method="POST", path="/theme", show=preferences.theme, roles=_EVERYBODY),
)
