"""What a tenant that is deleted has on this host, removed once nothing of it runs any more."""

import shutil
from collections.abc import Collection
from pathlib import Path

import structlog

from tenants.run_directory import RunDirectory

log = structlog.get_logger()


class Departures:
    """Removes sockets, the broker's data and what a tenant's processes printed."""

    def __init__(
        self, *, run: RunDirectory, broker_data_directory: Path, log_directory: Path
    ) -> None:
        self._run = run
        self._broker_data_directory = broker_data_directory
        self._log_directory = log_directory

    def remove(self, tenant_id: str, *, gpu_ids: Collection[str]) -> bool:
        """Remove it; False when something would not go, which is worth another try.

        Recorder and meter see the directory go, and stop listening there.
        """
        folders = [
            self._run.tenant_directory(tenant_id),
            self._broker_data_directory / tenant_id,
        ]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        # By whole names: another tenant's may begin with this one's. Libraries print pieces of the
        # prompts that they cut off.
        names = [f"broker-{tenant_id}.log"]
        names += [f"worker-{tenant_id}-{gpu_id}.log" for gpu_id in gpu_ids]
        for name in names:
            (self._log_directory / name).unlink(missing_ok=True)
        left = [str(folder) for folder in folders if folder.exists()]
        if left:
            log.error("tenant_not_removed", tenant=tenant_id, left=left)
        else:
            log.info("tenant_removed", tenant=tenant_id)
        return not left
