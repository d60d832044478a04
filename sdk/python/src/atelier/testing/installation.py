"""A whole installation in the background for as long as a block lasts."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from atelier.client import Client
from atelier.testing.errors import InstallationStartError, ServersMissingError
from atelier.testing.studio import Studio, open_studio

# What `make up` runs. By name: this library knows nothing of the servers.
_STANDALONE = "services.standalone"
_READY = re.compile(r"the gateway listens at ([\d.]+:\d+)")
_POLL_SECONDS = 0.1
# It drains for ten seconds, then ends what is left; beyond this something hangs.
_STOP_SECONDS_MAX = 60.0
_TOLD_BYTES = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalInstallation:
    """An installation that runs; every process of it ends with the block that started it."""

    address: str
    operator_key: str
    # Data, logs and pictures; deleted at the end.
    directory: Path

    def operator(self, *, tenant: str = "-") -> Client:
        """Open a client with the operator's key, acting for a tenant."""
        return Client(self.address, api_key=self.operator_key, tenant=tenant)

    def open_studio(self, tenant_id: str = "studio", *, currency: str = "USD") -> Studio:
        """Make a tenant with a price, credit and an admin's key."""
        with self.operator(tenant=tenant_id) as operator:
            api_key = open_studio(operator, tenant_id, currency=currency)
        return Studio(address=self.address, tenant_id=tenant_id, api_key=api_key)


@contextlib.contextmanager
def local_installation(
    *,
    model_catalogue: Path | None = None,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
    start_seconds_max: float = 180.0,
) -> Generator[LocalInstallation]:
    """Run what `make up` runs, on a free port, with data of its own.

    `model_catalogue` replaces the models that ship; `environment` adds settings
    (`ATELIER_STANDALONE_…`). Should this process be killed, the installation notices and ends too.

    Raises:
        ServersMissingError: `python` has no servers installed.
        InstallationStartError: it did not come up.
    """
    _check_that_servers_are_there(python)
    # Short, because the sockets' paths are; open to PostgreSQL's own user, where root starts it.
    directory = Path(tempfile.mkdtemp(prefix="atelier-"))
    directory.chmod(0o711)
    try:
        with _running(
            directory,
            command=_command(python, directory),
            environment=_environment(model_catalogue, environment),
            start_seconds_max=start_seconds_max,
        ) as address:
            yield LocalInstallation(
                address=address,
                operator_key=(directory / "data" / "operator.key").read_text().strip(),
                directory=directory,
            )
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _running(
    directory: Path, *, command: list[str], environment: dict[str, str], start_seconds_max: float
) -> Generator[str]:
    log_path = directory / "output.log"
    with log_path.open("wb") as log:
        # Its standard input stays open for as long as this process lives.
        process = subprocess.Popen(  # noqa: S603 - our own program, from a list
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
        )
    try:
        yield _address_when_ready(process, log_path, start_seconds_max=start_seconds_max)
    finally:
        _stop(process)


def _address_when_ready(
    process: "subprocess.Popen[bytes]", log_path: Path, *, start_seconds_max: float
) -> str:
    deadline = time.monotonic() + start_seconds_max
    while True:
        told = log_path.read_text(errors="replace")
        if ready := _READY.search(told):
            return ready[1]
        if process.poll() is not None:
            raise InstallationStartError(f"the installation ended:\n{told[-_TOLD_BYTES:]}")
        if time.monotonic() > deadline:
            raise InstallationStartError(
                f"not ready within {start_seconds_max:g} s:\n{told[-_TOLD_BYTES:]}"
            )
        time.sleep(_POLL_SECONDS)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        # A second signal ends everything at once.
        process.terminate()
        process.wait(_STOP_SECONDS_MAX)
    finally:
        assert process.stdin is not None
        process.stdin.close()


def _command(python: str, directory: Path) -> list[str]:
    return [
        *(python, "-m", _STANDALONE, "up", "--while-stdin-is-open"),
        *("--data-directory", str(directory / "data"), "--port", "0"),
    ]


def _environment(
    model_catalogue: Path | None, environment: Mapping[str, str] | None
) -> dict[str, str]:
    chosen = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
    if model_catalogue is not None:
        chosen["ATELIER_STANDALONE_MODEL_CATALOGUE_PATH"] = str(model_catalogue.resolve())
    return chosen


def _check_that_servers_are_there(python: str) -> None:
    question = (
        f"import importlib.util, sys; sys.exit(importlib.util.find_spec({_STANDALONE!r}) is None)"
    )
    asked = subprocess.run([python, "-c", question], capture_output=True, check=False)  # noqa: S603
    if asked.returncode != 0:
        raise ServersMissingError(python)
