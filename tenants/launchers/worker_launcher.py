"""What the fleet asks of whoever starts workers: a process, a sandbox, a container."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenants.ids import SessionId
from tenants.launchers.child_process import ChildProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """One worker to start: for one tenant, on one device, with one model."""

    # Who the recorder will hear of: a number of the process says nothing across namespaces.
    session_id: SessionId
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedWorker:
    """One start of a worker, until it ends and never another one; can be written down."""

    session_id: SessionId
    # On its host, for people.
    process_id: int
    # How a launcher that starts processes knows it.
    child: ChildProcess | None = None
    # What stands around it and ends with it, where there is such a process.
    guard: ChildProcess | None = None
    # How one that starts containers does.
    container_id: str | None = None


class WorkerLauncher(Protocol):
    """Starts workers that outlive the launcher, so that a restarted fleet adopts them."""

    @property
    def name(self) -> str:
        """As in the column `workers.launcher`."""
        ...

    @property
    def isolation(self) -> str:
        """In words, for the log and the operator: what keeps a tenant's worker from another's."""
        ...

    @property
    def first_group(self) -> int | None:
        """Where the numbers of tenants' groups begin on this host; None: it knows no tenants."""
        ...

    def check(self) -> None:
        """Look whether every layer it isolates with is there, before the first worker.

        Raises:
            LauncherUnavailableError: one is missing; says what to do about it.
        """
        ...

    def start(self, order: WorkerOrder) -> StartedWorker:
        """Start one, and look that it is confined as was asked.

        Raises:
            WorkerRefusedError: it is not, or cannot be; nothing of it is left running.
        """
        ...

    def is_running(self, worker: StartedWorker) -> bool:
        """Whether it runs still; collects what one that has ended left behind."""
        ...

    def ask_to_end(self, worker: StartedWorker) -> None: ...

    def kill(self, worker: StartedWorker) -> None:
        """End it and whatever it started, at once."""
        ...

    def forget_others(self, known: Collection[StartedWorker]) -> None:
        """End what an earlier fleet of this host started and lost sight of."""
        ...
