"""The command `atelier` and its exit codes.

0: done, all images came. 1: some images did not come. 2: used wrongly. 3: refused, or nobody there.
"""

import sys

import click

from atelier.cli.admin_commands import admin
from atelier.cli.admin_invoice_commands import admin_invoices
from atelier.cli.audit_command import audit
from atelier.cli.budget_commands import budgets, ledger
from atelier.cli.doctor_command import admin_doctor, doctor
from atelier.cli.generate_command import generate
from atelier.cli.identity_commands import identities
from atelier.cli.invoice_commands import invoices
from atelier.cli.job_commands import jobs
from atelier.cli.key_commands import keys
from atelier.cli.login_command import completion, login
from atelier.cli.model_commands import balance, models
from atelier.cli.session import Session, common_options
from atelier.cli.settings_command import studio_settings
from atelier.cli.usage_commands import usage
from atelier.errors import AtelierError, CallError, ConfigurationError

EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="atelier")
@common_options
@click.pass_context
def atelier(
    context: click.Context,
    address: str | None,
    api_key: str | None,
    tenant: str | None,
    output_format: str | None,
) -> None:
    """Order pictures from an Atelier installation.

    Address and key come from the options, from ATELIER_ADDRESS and ATELIER_API_KEY, or from
    `atelier login`.
    """
    context.obj = Session(
        address=address, api_key=api_key, tenant=tenant, output_format=output_format
    )


for command in (
    login,
    generate,
    jobs,
    usage,
    invoices,
    keys,
    identities,
    budgets,
    ledger,
    models,
    balance,
    studio_settings,
    audit,
    admin,
    doctor,
    completion,
):
    atelier.add_command(command)
admin.add_command(admin_invoices)
admin.add_command(admin_doctor)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    try:
        code: object = atelier.main(args=arguments, prog_name="atelier", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (AtelierError, OSError) as error:
        click.echo(f"atelier: {error}", err=True)
        return _exit_code_of(error)
    return code if isinstance(code, int) else 0


def _exit_code_of(error: AtelierError | OSError) -> int:
    if isinstance(error, CallError):
        _tell_violations(error)
    refused = isinstance(error, AtelierError) and not isinstance(error, ConfigurationError)
    return EXIT_REFUSED if refused else EXIT_USAGE


def _tell_violations(error: CallError) -> None:
    """Name every violation when there are several; the message names the first."""
    if len(error.violations) > 1:
        for violation in error.violations:
            click.echo(f"  {violation.subject}: {violation.description}", err=True)
