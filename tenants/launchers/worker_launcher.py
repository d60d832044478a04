"""What the fleet asks of whoever starts workers: a process, a sandbox, a container."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenants.launchers.child_process import ChildProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """One worker to start: for one tenant, on one device, with one model."""

    tenant_id: str
    gpu_id: str
    # The driver's name of the card, such as "GPU-5a…"; empty: the worker draws on the processor.
    device_uuid: str
    model_name: str
    model_path: str
    # Holds the tenant's sockets; all that the worker is given besides its model and its device.
    tenant_directory: Path
    batch_slots: int
    interactive_slots: int
    # CPU threads for arithmetic.
    threads: int
    # How long it may finish its images when it is asked to end.
    drain_seconds: float
    log_path: Path
    # What marks the worker as a process of this host (RunDirectory.mark).
    mark: Mapping[str, str]


class WorkerLauncher(Protocol):
    """Starts workers that outlive the launcher, so that a restarted fleet adopts them."""

    @property
    def name(self) -> str:
        """As in the column `workers.launcher`."""
        ...

    @property
    def isolation(self) -> str:
        """In words, for the log: what keeps one tenant's worker from another's."""
        ...

    def start(self, order: WorkerOrder) -> ChildProcess: ...
