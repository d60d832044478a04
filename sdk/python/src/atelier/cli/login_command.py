"""`atelier login` and `atelier completion`."""

import os

import click
from click.shell_completion import get_completion_class

from atelier.cli.session import Session, in_session
from atelier.settings import (
    ADDRESS_VARIABLE,
    DEFAULT_ADDRESS,
    Login,
    default_login_file,
    write_login,
)


@click.command()
@in_session
def login(session: Session) -> None:
    """Remember an address and a key, after trying them."""
    address = (
        session.address
        or os.environ.get(ADDRESS_VARIABLE)
        or click.prompt("Address", default=DEFAULT_ADDRESS, err=True)
    )
    api_key = session.api_key or click.prompt("API key", hide_input=True, err=True)
    tried = Session(address=address, api_key=api_key)
    with tried.open_client() as client:
        # Every role may ask for the models; a wrong key is refused here.
        model_count = len(list(client.list_models()))
    path = default_login_file()
    write_login(path, Login(address=address, api_key=api_key))
    if session.output.is_json:
        session.output.show_json({"address": address, "path": str(path)})
    else:
        click.echo(f"{address} offers {model_count} models; {path} remembers the key.")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete: eval "$(atelier completion bash)"."""
    completer = get_completion_class(shell)
    assert completer is not None
    root = click.get_current_context().find_root().command
    click.echo(completer(root, {}, "atelier", "_ATELIER_COMPLETE").source())
