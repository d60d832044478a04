"""Makes the directories that hold tenants' sockets, each of a group of the tenant's own.

The owner is whoever makes it; the group may enter and connect, and write nothing. What listens
there takes the group over, because the directories say so to the kernel (set-group-ID). The number
of a tenant's group is also its workers' user: it stands in the directory and nowhere else.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from tenants.run_directory import RunDirectory

_OWNER_AND_GROUP = stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP


class TenantDirectories:
    """The tenants' directories of one host; without a first group all are of the maker's own."""

    def __init__(self, run: RunDirectory, *, first_group: int | None = None) -> None:
        self._run = run
        self._first_group = first_group

    def make(self, tenant_id: str) -> None:
        """Make it before anybody listens in it; one that is there and right stays.

        Recorder and meter listen in every directory they see, so it is prepared under a name beside
        the others and then moved to its place, complete from the first moment on.
        """
        directory = self._run.tenant_directory(tenant_id)
        if self._is_right(directory):
            return
        shutil.rmtree(directory, ignore_errors=True)
        self._run.fleet_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._run.tenants_directory.mkdir(exist_ok=True, mode=0o711)
        unfinished = self._run.fleet_directory / f"{tenant_id}.unfinished"
        unfinished.mkdir(exist_ok=True, mode=_OWNER_AND_GROUP)
        if self._first_group is not None:
            os.chown(unfinished, -1, self._free_group(self._first_group))
            unfinished.chmod(_OWNER_AND_GROUP | stat.S_ISGID)
        unfinished.rename(directory)

    def make_gpu(self, tenant_id: str, gpu_id: str) -> None:
        """Make the directory of a tenant's worker on a device; the group comes from above."""
        directory = self._run.gpu_directory(tenant_id, gpu_id)
        directory.mkdir(parents=True, exist_ok=True, mode=_OWNER_AND_GROUP)

    def _is_right(self, directory: Path) -> bool:
        """Whether it is there, and of a launcher that gave its group a number as we do."""
        if not directory.is_dir():
            return False
        return self._first_group is None or group_of(directory) >= self._first_group

    def _free_group(self, first_group: int) -> int:
        taken = set(self._groups())
        return next(
            group for group in range(first_group, first_group + 2**16) if group not in taken
        )

    def _groups(self) -> Iterator[int]:
        for directory in self._run.tenants_directory.iterdir():
            yield group_of(directory)


def group_of(tenant_directory: Path) -> int:
    """Return the number of the tenant's group."""
    return tenant_directory.stat().st_gid
