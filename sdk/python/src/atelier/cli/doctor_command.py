"""`atelier doctor` and `atelier admin doctor`: what is wrong, and what to do."""

from collections.abc import Iterator

import click

from atelier.cli.output import Output
from atelier.cli.session import Session, in_session
from atelier.doctor import Finding, FindingState, diagnose
from atelier.errors import CallError, DatabaseDownError
from atelier.v1 import installation_service_pb2 as wire

EXIT_FAILED = 1
_STYLES = {"OK": "green", "WARNING": "yellow", "FAILED": "red", "UNKNOWN": "cyan"}


@click.command()
@in_session
def doctor(session: Session) -> None:
    """Say what is wrong with your set-up: address, DNS, port, TLS, key, clock, version.

    Exit code 1 when something failed.
    """
    findings = diagnose(address=session.address, api_key=session.api_key)
    _tell(session.output, (_fields(finding) for finding in findings))


@click.command("doctor")
@in_session
def admin_doctor(session: Session) -> None:
    """Say what is wrong with the installation: database, processes, storage, models, energy.

    First the way to it is looked at like `atelier doctor` does. Exit code 1 when something failed.
    """
    _tell(session.output, _look_at_everything(session))


Fields = dict[str, str]


def _look_at_everything(session: Session) -> Iterator[Fields]:
    for finding in diagnose(address=session.address, api_key=session.api_key):
        yield _fields(finding)
        if finding.state is FindingState.FAILED:
            return
    try:
        with session.open_client() as client:
            for found in client.verify_installation():
                yield _wire_fields(found)
    except DatabaseDownError as error:
        yield _failed_fields("database", str(error), "See that PostgreSQL runs.")
    except CallError as error:
        advice = "It needs the key of an operator, and a gateway that serves."
        yield _failed_fields("installation", str(error), advice)


def _tell(output: Output, findings: Iterator[Fields]) -> None:
    told: list[Fields] = []
    for finding in findings:
        told.append(finding)
        if not output.is_json:
            _show(finding)
    if output.is_json:
        output.show_json(told)
    if any(finding["state"] == FindingState.FAILED for finding in told):
        click.get_current_context().exit(EXIT_FAILED)


def _show(finding: Fields) -> None:
    """Print a finding as soon as it is there: reading all weights takes a while."""
    state = click.style(f"{finding['state']:<8}", fg=_STYLES[finding["state"]])
    click.echo(f"{state} {finding['check']}: {finding['message']}")
    if finding["advice"]:
        click.echo(f"{'':<8} → {finding['advice']}")


def _fields(finding: Finding) -> Fields:
    return {
        "check": finding.check,
        "state": str(finding.state),
        "message": finding.message,
        "advice": finding.advice,
    }


def _wire_fields(finding: wire.Finding) -> Fields:
    return {
        "check": finding.check,
        "state": wire.FindingState.Name(finding.state).removeprefix("FINDING_STATE_"),
        "message": finding.message,
        "advice": finding.advice,
    }


def _failed_fields(check: str, message: str, advice: str) -> Fields:
    return {
        "check": check,
        "state": str(FindingState.FAILED),
        "message": message,
        "advice": advice,
    }
