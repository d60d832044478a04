"""What is made once per data directory: the operator's first key, a checkpoint if none is there."""

import subprocess
import sys

from services.jobs.model_catalogue import RANDOM_CHECKPOINT, load_catalogue
from services.standalone.errors import OperatorKeyError, StartError
from services.standalone.process_orders import (
    Installation,
    gateway_settings,
    inherited_environment,
)
from services.standalone.secret_files import write_secret
from services.standalone.terminal import Terminal


def draws_with_random_weights(installation: Installation) -> bool:
    """Whether some model of the catalogue has no trained weights here."""
    catalogue = load_catalogue(installation.settings.model_catalogue_path)
    return any(model.source == RANDOM_CHECKPOINT for model in catalogue.values())


def make_checkpoint(installation: Installation, terminal: Terminal) -> None:
    """Make the checkpoint with random weights, if the catalogue asks for it and it is not there."""
    folder = installation.data.random_checkpoint
    if folder.exists() or not draws_with_random_weights(installation):
        return
    terminal.say("making a small checkpoint with random weights (once, some seconds) ...")
    made = subprocess.run(
        [sys.executable, "-m", "services.engine.random_checkpoint", folder],
        env=inherited_environment(installation),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise StartError(f"the checkpoint could not be made:\n{made.stderr}")


def make_operator_key(installation: Installation) -> None:
    """Make the operator's key and keep it in a file that only its owner reads.

    A key whose file was lost is no obstacle: who holds the data directory is the operator.
    """
    if installation.data.operator_key.exists():
        return
    made = subprocess.run(
        [sys.executable, "-m", "services.gateway", "bootstrap", "--another"],
        env={**inherited_environment(installation), **gateway_settings(installation)},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise OperatorKeyError(f"the operator's key could not be made:\n{made.stderr}")
    write_secret(installation.data.operator_key, made.stdout.strip())
