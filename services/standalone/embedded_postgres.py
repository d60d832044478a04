"""A PostgreSQL of our own: made, started and stopped with the programs of a wheel.

Only the programs are used, with this launcher: as root the packages' own servers create accounts
and make every folder above the data readable for the world. It listens on a UNIX socket alone,
asks for SCRAM passwords and checks its pages.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psutil

from database.server import answers, make_database
from services.standalone.errors import PostgresStartError
from services.standalone.postgres_binaries import (
    PostgresBinaries,
    can_reach,
    find_postgres_binaries,
    user_for_postgres,
    within_reach,
)
from tenants.launchers.child_process import (
    ChildProcess,
    end,
    identify,
    is_running,
    start_child,
)

ADMINISTRATOR = "atelier_administrator"
DATABASE = "atelier"

# A cold disk and a recovery after kill -9 included.
_START_SECONDS = 60.0
# SIGINT ends every session at once and writes a checkpoint; longer only on a disk that hangs.
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_LOG_TAIL_BYTES = 2000
# Where root keeps PostgreSQL's files when the data directory is closed to other users.
_OPEN_FOLDER = Path("/var/lib/atelier")

# For one machine that also draws: small, and enough connections for every process's pools.
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "unix_socket_permissions": "0777",
    "log_line_prefix": "%m [%p] %u ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPostgres:
    """A running server."""

    process: ChildProcess
    # Of the administrator, for the database of this installation.
    admin_url: str
    origin: str

    def stop(self) -> None:
        """End it with SIGINT: SIGTERM would wait for every client to leave."""
        end(self.process, ask_with=signal.SIGINT, patience_seconds=_STOP_SECONDS)


def start_postgres(
    *,
    data_directory: Path,
    socket_directory: Path,
    log_path: Path,
    admin_password: str,
    settings: dict[str, str] | None = None,
) -> EmbeddedPostgres:
    """Start the server on this data, made at the first time; call it from the main thread.

    The server ends with the thread that started it. What an earlier server left behind is
    cleared: one that still runs is stopped, after kill -9 the data recover from the log.

    Raises:
        NoPostgresError: there are no programs.
        PostgresStartError: it does not come up; with the end of its log.
    """
    user = user_for_postgres()
    binaries = within_reach(find_postgres_binaries(), user)
    cluster = _reachable_cluster(data_directory, user)
    _own(socket_directory, user)
    _clear_leftovers(cluster, socket_directory)
    if not (cluster / "PG_VERSION").exists():
        _make_cluster(binaries, cluster, user=user, password=admin_password)
    process = start_child(
        _command(
            binaries,
            cluster,
            {**_SETTINGS, "unix_socket_directories": str(socket_directory), **(settings or {})},
        ),
        environment={"PATH": os.defpath, "TZ": "UTC"},
        log_path=log_path,
        death_signal=signal.SIGINT,
        user=user,
        directory=Path("/"),
    )
    server_url = (
        f"postgresql://{ADMINISTRATOR}:{admin_password}@/postgres?host={socket_directory}&port=5432"
    )
    _wait_until_ready(process, server_url, log_path)
    make_database(server_url, DATABASE)
    return EmbeddedPostgres(
        process=process,
        admin_url=server_url.replace("@/postgres?", f"@/{DATABASE}?"),
        origin=binaries.origin,
    )


def _reachable_cluster(data_directory: Path, user: str | None) -> Path:
    """Return where the files lie: the data directory, unless the server's user cannot enter it.

    Below a closed folder (/root) a link in the data directory leads to a folder of root's.
    """
    data_directory.parent.mkdir(parents=True, exist_ok=True)
    if data_directory.is_symlink():
        return data_directory.resolve()
    if user is None or can_reach(data_directory.parent, user):
        _own(data_directory, user)
        return data_directory
    cluster = _OPEN_FOLDER / f"data-{secrets.token_hex(8)}"
    _own(cluster, user)
    data_directory.symlink_to(cluster)
    return cluster


def _own(directory: Path, user: str | None) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    if user is not None:
        shutil.chown(directory, user)


def _clear_leftovers(cluster: Path, socket_directory: Path) -> None:
    """Stop a server whose starter was killed, then remove the locks of servers that are no more.

    PostgreSQL believes a lock whose pid answers, and so does a zombie's, or a stranger's that was
    given the number since. We know better: every server works in its folder.
    """
    lock = cluster / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        pid = int(lock.read_text().splitlines()[0])
        server = identify(pid)
        # Looking at a dead child of ours also collects it.
        if server is not None and is_running(server) and _works_in(pid, cluster):
            end(server, ask_with=signal.SIGINT, patience_seconds=_STOP_SECONDS)
    _wait_for_orphans(cluster)
    for leftover in (lock, *socket_directory.glob(".s.PGSQL.*")):
        leftover.unlink(missing_ok=True)


def _wait_for_orphans(cluster: Path) -> None:
    """Let the sessions of a killed server end: two servers on one set of files would ruin them."""
    deadline = time.monotonic() + _STOP_SECONDS
    while orphans := [pid for pid in psutil.pids() if _works_in(pid, cluster)]:
        if time.monotonic() > deadline:
            raise PostgresStartError(
                f"processes {orphans} of an earlier PostgreSQL still use {cluster}; end them first"
            )
        time.sleep(_POLL_SECONDS)


def _works_in(pid: int, cluster: Path) -> bool:
    """Whether it is a PostgreSQL process on these files: each keeps its folder there."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == cluster.resolve()
    except OSError:
        return False


def _make_cluster(
    binaries: PostgresBinaries, cluster: Path, *, user: str | None, password: str
) -> None:
    """Run initdb; one that was interrupted left no PG_VERSION or half a folder: begin again."""
    for leftover in cluster.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    with _password_file(password, user) as password_path:
        made = subprocess.run(
            [
                binaries.initdb,
                f"--pgdata={cluster}",
                f"--username={ADMINISTRATOR}",
                f"--pwfile={password_path}",
                "--auth=scram-sha-256",
                "--data-checksums",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-instructions",
            ],
            user=user,
            cwd="/",
            env={"PATH": os.defpath, "TZ": "UTC"},
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode != 0:
        raise PostgresStartError(f"initdb of {binaries.origin} failed:\n{made.stderr}")


@contextlib.contextmanager
def _password_file(password: str, user: str | None) -> Generator[str]:
    with tempfile.NamedTemporaryFile("w", prefix="atelier-") as file:
        if user is not None:
            shutil.chown(file.name, user)
        file.write(password)
        file.flush()
        yield file.name


def _command(
    binaries: PostgresBinaries, cluster: Path, settings: dict[str, str]
) -> list[str | Path]:
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [binaries.postgres, "-D", cluster, *options]


def _wait_until_ready(process: ChildProcess, server_url: str, log_path: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(server_url):
        if not is_running(process) or time.monotonic() > deadline:
            end(process, ask_with=signal.SIGINT, patience_seconds=_STOP_SECONDS)
            tail = log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
            raise PostgresStartError(f"PostgreSQL did not start; the end of {log_path}:\n{tail}")
        time.sleep(_POLL_SECONDS)
