"""`atelier audit`: who did what, and when."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

import click

from atelier.cli.output import Column, enum_word, moment_text
from atelier.cli.session import Session, in_session
from atelier.cli.values import MOMENT
from atelier.names import last_id
from atelier.v1.api_key_service_pb2 import KeyRole
from atelier.v1.audit_service_pb2 import AuditEvent

AUDIT_COLUMNS: Sequence[Column[AuditEvent]] = (
    Column("when", lambda event: moment_text(event.create_time)),
    Column("tenant", lambda event: event.name.split("/")[1]),
    Column("key", lambda event: last_id(event.api_key)),
    Column("who", lambda event: event.subject, is_text=True, is_detail=True),
    Column("role", lambda event: enum_word(KeyRole.Name(event.role), "KEY_ROLE")),
    Column("from", lambda event: event.address),
    Column("call", lambda event: event.method),
    Column("what", lambda event: event.resource_name, is_text=True),
    Column("fields", lambda event: ", ".join(event.changed_fields), is_text=True, is_detail=True),
    Column("result", lambda event: event.reason or event.code),
    Column("omitted", lambda event: str(event.omitted_count or ""), is_number=True),
)


@click.command()
@click.option("--call", "method", default="", help="Only this one, such as JobService/CreateJob.")
@click.option("--key", "api_key", default="", help="Only what this key did.")
@click.option("--resource", "resource_name", default="", help="Only what was about this resource.")
@click.option("--refused", is_flag=True, help="Only what was refused.")
@click.option("--from", "start_time", type=MOMENT, help="At or after this time.")
@click.option("--to", "end_time", type=MOMENT, help="Before this time.")
@click.option(
    "-n",
    "count_max",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="At most so many.",
)
@in_session
def audit(
    session: Session,
    *,
    method: str,
    api_key: str,
    resource_name: str,
    refused: bool,
    start_time: datetime | None,
    end_time: datetime | None,
    count_max: int,
) -> None:
    """List who changed what, newest first; operators see all tenants, or one with --tenant."""
    with session.open_client() as client:
        events = client.list_audit_events(
            method=method,
            api_key=api_key,
            resource_name=resource_name,
            refused_only=refused,
            start_time=start_time,
            end_time=end_time,
        )
        session.output.show_many(list(islice(events, count_max)), AUDIT_COLUMNS)
