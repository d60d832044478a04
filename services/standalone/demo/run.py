"""The demo on an installation of its own: fresh data, any free port, stopped at the end."""

import shutil
import threading
from pathlib import Path

from rich.console import Console

from services.standalone.demo.errors import DemoFailedError
from services.standalone.demo.script import Stage, play
from services.standalone.demo.shop import SELLER
from services.standalone.directories import DataDirectory
from services.standalone.first_start import draws_with_random_weights
from services.standalone.installation import RunningInstallation, running_installation
from services.standalone.instance_lock import instance_lock
from services.standalone.settings import Settings
from services.standalone.terminal import Terminal

_DEVICES = 2
_LOG_COLUMNS = 110


def run_demo(settings: Settings, terminal: Terminal, *, output: Path, csv_path: Path) -> None:
    """Play the demo and leave its pictures and invoices in `output`.

    Raises:
        StandaloneError: it could not start, or did not show what it should.
    """
    if not csv_path.exists():
        raise DemoFailedError(f"there is no campaign at {csv_path}")
    data = DataDirectory(settings.data_directory)
    _remove_earlier(data)
    console = _console()
    console.print("Starting PostgreSQL, two studios' brokers and workers, and all between ...")
    with running_installation(settings, terminal) as running:
        if draws_with_random_weights(running.installation):
            console.print(
                "[yellow]There is no trained checkpoint here: the model has random weights and "
                "draws noise. Everything else is real.[/yellow]"
            )
        _play_beside(running, _stage(running, output=output, csv_path=csv_path, console=console))
    console.print(
        f"Look at the pictures in [bold]{output}/acme[/bold] and [bold]{output}/zeta[/bold], and "
        f"at the invoice [bold]{output}/acme/invoice.pdf[/bold]"
    )


def demo_settings(settings: Settings, *, cores: int) -> Settings:
    """Return the demo's settings: any port, a shop, and the cores shared by the two workers."""
    return settings.model_copy(
        update={
            "port": 0,
            "console": False,
            "database_url": None,
            "cpu_device_count": _DEVICES,
            "threads_per_worker": max(1, cores // _DEVICES),
            **SELLER,
        }
    )


def _console() -> Console:
    """Return the terminal; a log has no width of its own, and tables need some."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _LOG_COLUMNS
    return console


def _remove_earlier(data: DataDirectory) -> None:
    """Begin with empty tables; raises AlreadyRunningError when another demo is at work there."""
    if not data.path.exists():
        return
    with instance_lock(data.lock, address="starting"):
        if data.postgres.is_symlink():
            shutil.rmtree(data.postgres.resolve(), ignore_errors=True)
        for entry in data.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != data.lock:
                entry.unlink()


def _stage(
    running: RunningInstallation, *, output: Path, csv_path: Path, console: Console
) -> Stage:
    installation = running.installation
    return Stage(
        address=installation.gateway_address,
        operator_key=installation.data.operator_key.read_text().strip(),
        operator_database_url=installation.database_urls["atelier_operator"],
        csv_path=csv_path,
        output=output,
        console=console,
    )


def _play_beside(running: RunningInstallation, stage: Stage) -> None:
    """Play in a thread, because the main one looks after the processes."""
    failures: list[BaseException] = []

    def play_and_note_failure() -> None:
        try:
            play(stage)
        except BaseException as failure:  # noqa: BLE001 -- raised again in the main thread
            failures.append(failure)

    # A daemon, so that Ctrl-C need not wait for it.
    script = threading.Thread(target=play_and_note_failure, name="demo", daemon=True)
    script.start()
    while script.is_alive():
        running.look_after()
    for failure in failures:
        raise failure
