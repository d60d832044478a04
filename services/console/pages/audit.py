"""Who changed what, and what was refused."""

from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from starlette.responses import Response

from atelier.v1.audit_service_pb2 import AuditEvent
from services.console.visit import Visit

_EVENTS_SHOWN_MAX: Final = 100


async def audit(visit: Visit) -> Response:
    refused_only = visit.query("refused") == "1"
    events = await _events(
        visit, refused_only=refused_only, end_time=_moment(visit.query("before"))
    )
    older = ""
    if len(events) > _EVENTS_SHOWN_MAX:
        events = events[:_EVENTS_SHOWN_MAX]
        older = events[-1].create_time.ToDatetime(tzinfo=UTC).isoformat()
    return visit.page("audit.html", events=events, refused_only=refused_only, older=older)


async def _events(
    visit: Visit, *, refused_only: bool, end_time: datetime | None
) -> list[AuditEvent]:
    """Return one event more than is shown, where there are more."""
    found: list[AuditEvent] = []
    listed = visit.client.list_audit_events(refused_only=refused_only, end_time=end_time)
    async with aclosing(listed):
        async for event in listed:
            found.append(event)
            if len(found) > _EVENTS_SHOWN_MAX:
                break
    return found


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
