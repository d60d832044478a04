"""The list of jobs."""

from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from atelier.v1.job_service_pb2 import JobFilter, JobState
from services.console.live import ACTIVE_JOB_STATES
from services.console.visit import Visit

_JOBS_PER_PAGE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A filter by state."""

    value: str
    title: str
    states: "tuple[JobState.ValueType, ...]"


CHOICES: Final = (
    Choice(value="", title="All", states=()),
    Choice(value="active", title="Active", states=ACTIVE_JOB_STATES),
    Choice(value="succeeded", title="Succeeded", states=(JobState.JOB_STATE_SUCCEEDED,)),
    Choice(
        value="incomplete",
        title="Incomplete",
        states=(JobState.JOB_STATE_PARTIALLY_SUCCEEDED, JobState.JOB_STATE_FAILED),
    ),
    Choice(value="cancelled", title="Cancelled", states=(JobState.JOB_STATE_CANCELLED,)),
)


async def jobs(visit: Visit) -> Response:
    chosen = next((one for one in CHOICES if one.value == visit.query("state")), CHOICES[0])
    project = visit.query("project").strip()[:63]
    page = await visit.client.jobs_page(
        JobFilter(states=chosen.states, project=project),
        page_size=_JOBS_PER_PAGE,
        page_token=visit.query("page"),
    )
    return visit.page(
        "jobs.html",
        jobs=page.jobs,
        choices=CHOICES,
        chosen=chosen,
        project=project,
        next_page=page.next_page_token,
        is_first_page=not visit.query("page"),
    )
