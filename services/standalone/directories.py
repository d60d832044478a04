"""Where an installation on one machine keeps its things."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from services.standalone.errors import ForeignDirectoryError
from tenants.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """What must survive: back this up and an installation is kept."""

    path: Path

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    @property
    def brokers(self) -> Path:
        return self.path / "brokers"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def random_checkpoint(self) -> Path:
        return self.path / "models" / "random-checkpoint"

    @property
    def operator_key(self) -> Path:
        return self.path / "operator.key"

    @property
    def lock(self) -> Path:
        return self.path / "standalone.lock"

    def make(self) -> None:
        """Make the folders; those with secrets or customers' things are closed to others."""
        # Not 0700: as root, PostgreSQL's own user must get through to its folder.
        self.path.mkdir(parents=True, exist_ok=True, mode=0o711)
        for folder in (self.objects, self.spool, self.brokers, self.secrets, self.logs):
            folder.mkdir(exist_ok=True, mode=0o700)


def make_run_directory(data_directory: Path) -> RunDirectory:
    """Make the sockets' directory: of a short path, the same one at every start on these data.

    Raises:
        ForeignDirectoryError: somebody else made a directory of that name in /tmp.
    """
    digest = hashlib.sha256(bytes(data_directory.resolve())).hexdigest()[:8]
    path = Path("/tmp") / f"atelier-{os.geteuid()}-{digest}"  # noqa: S108 -- its owner is checked
    path.mkdir(exist_ok=True, mode=0o711)
    found = path.lstat()
    if found.st_uid != os.geteuid() or path.is_symlink():
        raise ForeignDirectoryError(f"{path} belongs to somebody else; remove it and try again")
    run = RunDirectory(path)
    run.tenants_directory.mkdir(exist_ok=True, mode=0o711)
    return run
