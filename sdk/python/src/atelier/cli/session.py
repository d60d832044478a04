"""What every command has: where to, with which key, for which tenant, in which format.

The options may stand before the command or behind it; behind it they count more.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Concatenate, ParamSpec, cast

import click

from atelier.cli.output import Output, OutputFormat
from atelier.client import Client
from atelier.names import OWN_TENANT

P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The common options, as far as they were given."""

    address: str | None = None
    api_key: str | None = None
    tenant: str | None = None
    output_format: str | None = None

    def overridden_by(self, later: "Session") -> "Session":
        return replace(
            self,
            address=later.address or self.address,
            api_key=later.api_key or self.api_key,
            tenant=later.tenant or self.tenant,
            output_format=later.output_format or self.output_format,
        )

    @property
    def output(self) -> Output:
        return Output(output_format=OutputFormat(self.output_format or OutputFormat.TABLE))

    def open_client(self, *, tenant: str | None = None) -> Client:
        """Open a client; for operators, acting for a tenant."""
        return Client(
            self.address, api_key=self.api_key, tenant=tenant or self.tenant or OWN_TENANT
        )


def common_options(command: Callable[P, None]) -> Callable[P, None]:
    """Give a command the options that belong to a session."""
    options = (
        click.option("--address", metavar="HOST:PORT", help="Where the installation is."),
        click.option("--api-key", metavar="KEY", help="The key that opens it."),
        click.option("--tenant", metavar="ID", help="For operators: on behalf of this tenant."),
        click.option(
            "--format",
            "output_format",
            type=click.Choice([choice.value for choice in OutputFormat]),
            help="How to print the result.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def in_session(command: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Give a command its session in place of the common options."""

    @common_options
    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> None:
        given = Session(
            address=_taken(kwargs, "address"),
            api_key=_taken(kwargs, "api_key"),
            tenant=_taken(kwargs, "tenant"),
            output_format=_taken(kwargs, "output_format"),
        )
        before = click.get_current_context().find_object(Session) or Session()
        # click passes what the options of this very command declare.
        cast("Callable[..., None]", command)(before.overridden_by(given), *args, **kwargs)

    return run


def _taken(options: dict[str, object], name: str) -> str | None:
    value = options.pop(name)
    return str(value) if value is not None else None
