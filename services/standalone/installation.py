"""Everything of one machine, running: PostgreSQL, our processes, and the end of them all."""

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from database.migration_runner import migrate
from database.server import url_for
from services.standalone.descendants import (
    collect_orphans,
    end_leftovers,
    inherit_orphans,
    kill_descendants,
)
from services.standalone.directories import DataDirectory, make_run_directory
from services.standalone.errors import PortTakenError, StartError
from services.standalone.first_start import make_checkpoint, make_operator_key
from services.standalone.instance_lock import instance_lock
from services.standalone.kept_postgres import KeptPostgres
from services.standalone.process_orders import Installation, process_orders
from services.standalone.secret_files import Secrets, read_or_make_secrets
from services.standalone.settings import Settings
from services.standalone.supervisor import Supervisor
from services.standalone.terminal import Terminal

_HOST = "127.0.0.1"
_LOOK_SECONDS = 0.2
_LOG_TAIL_BYTES = 1500
# Who depends on whom: calls end first, then the drawing, whose last marks and pictures the meter
# and the recorder still take.
_STOP_ORDER = (("console",), ("gateway", "housekeeper"), ("fleet",), ("meter",), ("recorder",))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningInstallation:
    """What runs; whoever holds it calls `look_after` again and again, from the main thread."""

    installation: Installation
    postgres: KeptPostgres
    supervisor: Supervisor

    def look_after(self) -> None:
        """Restart what died, then rest for a moment."""
        self.postgres.look_after()
        self.supervisor.look_after()
        known = {*self.supervisor.process_ids.values(), self.postgres.process_id}
        collect_orphans(except_pids=known)
        time.sleep(_LOOK_SECONDS)


@contextmanager
def running_installation(settings: Settings, terminal: Terminal) -> Generator[RunningInstallation]:
    """Run everything for as long as the block lasts, and leave no process behind.

    Raises:
        StandaloneError: it cannot start; with words for the person at the terminal.
        DatabaseError: the data are of another version.
    """
    data = DataDirectory(settings.data_directory.resolve())
    data.make()
    address = f"{_HOST}:{settings.port or _free_port()}"
    console_address = _console_address(settings)
    with instance_lock(data.lock, address=address), _nothing_left_behind(terminal):
        run = make_run_directory(data.path)
        if leftovers := end_leftovers(run):
            terminal.warn(f"ended {leftovers} processes of an installation that was killed")
        _check_port(address, remedy="--port 7432, or --port 0 for any free one")
        if console_address is not None:
            remedy = "ATELIER_STANDALONE_CONSOLE_PORT=7434, or 0 for any free one"
            _check_port(console_address, remedy=remedy)
        secrets = read_or_make_secrets(data.secrets)
        own_url = settings.database_url
        postgres = KeptPostgres(
            own_url=None if own_url is None else own_url.get_secret_value(),
            data=data,
            run=run,
            administrator_password=secrets.administrator_password,
            terminal=terminal,
        )
        with postgres.running() as admin_url:
            installation = Installation(
                settings=settings,
                data=data,
                run=run,
                secrets=secrets,
                database_urls=_open_database(admin_url, secrets, terminal),
                gateway_address=address,
                console_address=console_address,
            )
            with _processes(installation, terminal) as supervisor:
                running = RunningInstallation(
                    installation=installation, postgres=postgres, supervisor=supervisor
                )
                _wait_until_ready(running)
                yield running


def _open_database(admin_url: str, secrets: Secrets, terminal: Terminal) -> dict[str, str]:
    """Bring the schema up to date; return each role's URL."""
    for migration in migrate(admin_url, role_passwords=secrets.role_passwords):
        terminal.tell(f"applied migration {migration.number:04d} {migration.title}")
    return {
        role: url_for(admin_url, user=role, password=password)
        for role, password in secrets.role_passwords.items()
    }


@contextmanager
def _nothing_left_behind(terminal: Terminal) -> Generator[None]:
    inherit_orphans()
    try:
        yield
    finally:
        if killed := kill_descendants():
            terminal.warn(f"had to be killed: {', '.join(sorted(set(killed)))}")


@contextmanager
def _processes(installation: Installation, terminal: Terminal) -> Generator[Supervisor]:
    make_checkpoint(installation, terminal)
    make_operator_key(installation)
    supervisor = Supervisor(
        process_orders(installation), log_directory=installation.data.logs, terminal=terminal
    )
    try:
        supervisor.look_after()
        yield supervisor
    finally:
        for names in _STOP_ORDER:
            supervisor.stop(*names)


def _wait_until_ready(running: RunningInstallation) -> None:
    settings, address = running.installation.settings, running.installation.gateway_address
    deadline = time.monotonic() + settings.start_seconds
    while not _answers(address):
        if time.monotonic() > deadline:
            log_path = running.supervisor.log_path("gateway")
            tail = log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
            raise StartError(
                f"the gateway did not answer within {settings.start_seconds:g} s; "
                f"the end of {log_path}:\n{tail}"
            )
        running.look_after()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as connection:
        connection.settimeout(1.0)
        return connection.connect_ex((host, int(port))) == 0


def _console_address(settings: Settings) -> str | None:
    if not settings.console:
        return None
    # Whoever asks for any free port may have several installations, and each needs one more.
    wanted = settings.console_port if settings.port else 0
    return f"{_HOST}:{wanted or _free_port()}"


def _check_port(address: str, *, remedy: str) -> None:
    """Ask before anything starts: a gateway that cannot listen would be restarted for ever."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise PortTakenError(
                f"{address} cannot be listened on ({error.strerror}). "
                f"Choose another port: {remedy}."
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
