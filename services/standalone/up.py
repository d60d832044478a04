"""`make up`: everything runs until Ctrl-C."""

import shutil
import sys
from pathlib import Path

from services.standalone.first_start import draws_with_random_weights
from services.standalone.installation import RunningInstallation, running_installation
from services.standalone.process_orders import Installation
from services.standalone.settings import Settings
from services.standalone.terminal import Terminal


def run_up(settings: Settings, terminal: Terminal) -> None:
    """Run everything and look after it until StopRequested is raised."""
    with running_installation(settings, terminal) as running:
        terminal.say(_greeting(running))
        while True:
            running.look_after()


def _console_lines(installation: Installation) -> list[str]:
    if installation.console_address is None:
        return []
    return [f"The console is at http://{installation.console_address}; log in with an API key."]


def path_lines(interpreter: Path, *, found: str | None) -> list[str]:
    """What a shell must be told so that it finds the command installed beside this Python."""
    folder = interpreter.parent
    return [] if found == str(folder / "atelier") else [f'  export PATH="{folder}:$PATH"']


def _greeting(running: RunningInstallation) -> str:
    installation = running.installation
    lines = [
        f"Atelier runs; the gateway listens at {installation.gateway_address}.",
        *_console_lines(installation),
        "Speak to it as the operator:",
        *path_lines(Path(sys.executable), found=shutil.which("atelier")),
        f"  export ATELIER_ADDRESS={installation.gateway_address}",
        f'  export ATELIER_API_KEY="$(cat {installation.data.operator_key})"',
        "  atelier --help",
        f"Data: {installation.data.path}   logs: {installation.data.logs}",
        "Workers run as plain processes here: NOTHING isolates one tenant's from another's.",
    ]
    if draws_with_random_weights(installation):
        lines.append("A model of the catalogue has random weights: it draws noise.")
    return "\n".join([*lines, "Ctrl-C stops everything; the data stay."])
