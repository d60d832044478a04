"""`atelier keys …`."""

from datetime import datetime, timedelta

import click

from atelier.calls import timestamp
from atelier.cli.columns import KEY_COLUMNS
from atelier.cli.output import Output, message_fields
from atelier.cli.session import Session, in_session
from atelier.cli.values import MOMENT
from atelier.v1.api_key_service_pb2 import (
    ApiKey,
    CreateApiKeyResponse,
    KeyRole,
    RotateApiKeyResponse,
)


@click.group()
def keys() -> None:
    """Make and end API keys."""


@keys.command("create")
@click.option(
    "--role",
    type=click.Choice(["member", "admin", "operator"]),
    default="member",
    show_default=True,
    help="What it may do.",
)
@click.option("--title", default="", help="A name for the key.")
@click.option("--project", default="", help="The project of jobs that name none.")
@click.option("--expires", type=MOMENT, help="When it ends; never unless given.")
@click.option(
    "--allow", "networks", multiple=True, metavar="NETWORK", help="Only from there; repeatable."
)
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def create(
    session: Session,
    *,
    role: str,
    title: str,
    project: str,
    expires: datetime | None,
    networks: tuple[str, ...],
    request_id: str | None,
) -> None:
    """Make a key; its secret is shown once."""
    api_key = ApiKey(
        display_name=title,
        role=KeyRole.Value(f"KEY_ROLE_{role.upper()}"),
        project=project,
        expire_time=timestamp(expires),
        allowed_networks=networks,
    )
    with session.open_client() as client:
        _show_secret(session.output, client.create_api_key(api_key, request_id=request_id))


@keys.command("list")
@in_session
def list_(session: Session) -> None:
    """List keys without their secrets."""
    with session.open_client() as client:
        session.output.show_many(list(client.list_api_keys()), KEY_COLUMNS)


@keys.command("rotate")
@click.argument("key")
@click.option(
    "--grace-hours",
    type=click.FloatRange(0, 720),
    help="How long the old secret still works; what the installation has set unless given.",
)
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def rotate(
    session: Session, *, key: str, grace_hours: float | None, request_id: str | None
) -> None:
    """Give a key a new secret; the old one works for the grace time."""
    grace = None if grace_hours is None else timedelta(hours=grace_hours)
    with session.open_client() as client:
        answer = client.rotate_api_key(key, grace=grace, request_id=request_id)
    _show_secret(session.output, answer)


@keys.command("revoke")
@click.argument("key")
@in_session
def revoke(session: Session, *, key: str) -> None:
    """End a key, everywhere within a second."""
    with session.open_client() as client:
        session.output.show_one(client.revoke_api_key(key), KEY_COLUMNS)


def _show_secret(output: Output, answer: CreateApiKeyResponse | RotateApiKeyResponse) -> None:
    if output.is_json:
        output.show_json(message_fields(answer))
        return
    output.show_one(answer.api_key, KEY_COLUMNS)
    if answer.secret:
        click.echo(f"\n{answer.secret}\n")
        output.tell("Keep this secret: it is not shown again.")
    else:
        output.tell("Its secret was shown before and is not kept; `atelier keys rotate` makes one.")
