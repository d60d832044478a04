"""`atelier models …` and `atelier balance`."""

import click

from atelier.cli.columns import BALANCE_COLUMNS, MODEL_COLUMNS
from atelier.cli.session import Session, in_session


@click.group()
def models() -> None:
    """See what there is to draw with."""


@models.command("list")
@in_session
def list_(session: Session) -> None:
    """List the models you may use."""
    with session.open_client() as client:
        session.output.show_many(list(client.list_models()), MODEL_COLUMNS)


@models.command("get")
@click.argument("model")
@in_session
def get(session: Session, *, model: str) -> None:
    """Show one model."""
    with session.open_client() as client:
        session.output.show_one(client.get_model(model), MODEL_COLUMNS)


@click.command()
@in_session
def balance(session: Session) -> None:
    """Show what the wallet holds."""
    with session.open_client() as client:
        session.output.show_one(client.get_balance(), BALANCE_COLUMNS)
