"""`atelier identities …`."""

import click

from atelier.cli.columns import IDENTITY_COLUMNS
from atelier.cli.session import Session, in_session
from atelier.v1.api_key_service_pb2 import KeyRole
from atelier.v1.identity_service_pb2 import IdentityBinding


@click.group()
def identities() -> None:
    """People and programs that come with an identity provider's token in place of a key."""


@identities.command("bind")
@click.argument("issuer")
@click.argument("value")
@click.option(
    "--claim", default="sub", show_default=True, help="What of the token must be VALUE, or hold it."
)
@click.option(
    "--role",
    type=click.Choice(["member", "admin"]),
    default="member",
    show_default=True,
    help="What its holder may do.",
)
@click.option("--title", default="", help="A name for the binding.")
@click.option("--project", default="", help="The project of jobs that name none.")
@click.option(
    "--allow", "networks", multiple=True, metavar="NETWORK", help="Only from there; repeatable."
)
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def bind(
    session: Session,
    *,
    issuer: str,
    value: str,
    claim: str,
    role: str,
    title: str,
    project: str,
    networks: tuple[str, ...],
    request_id: str | None,
) -> None:
    """Operator: let who has VALUE in a token of ISSUER act for the studio of --tenant."""
    binding = IdentityBinding(
        issuer=issuer,
        claim=claim,
        claim_value=value,
        role=KeyRole.Value(f"KEY_ROLE_{role.upper()}"),
        display_name=title,
        project=project,
        allowed_networks=networks,
    )
    with session.open_client() as client:
        made = client.create_identity_binding(binding, request_id=request_id)
    session.output.show_one(made, IDENTITY_COLUMNS)


@identities.command("list")
@in_session
def list_(session: Session) -> None:
    """List what is bound to the studio."""
    with session.open_client() as client:
        session.output.show_many(list(client.list_identity_bindings()), IDENTITY_COLUMNS)


@identities.command("delete")
@click.argument("binding")
@in_session
def delete(session: Session, *, binding: str) -> None:
    """End a binding, everywhere within a second."""
    with session.open_client() as client:
        session.output.show_one(client.delete_identity_binding(binding), IDENTITY_COLUMNS)
