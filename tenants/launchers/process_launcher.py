"""Workers as plain processes: for a first contact on any machine. It isolates nothing."""

import os
import signal
import sys
from collections.abc import Collection
from typing import Final

from tenants.launchers.child_process import ChildProcess, is_running, kill_group, send, start_child
from tenants.launchers.worker_launcher import StartedWorker, WorkerOrder

# Nothing else of the starter's environment reaches a worker: it renders strangers' prompts, and
# the environment is where passwords lie.
_PASSED_ON: Final = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "PATH",
    "TMPDIR",
)


class ChildWorkers:
    """How workers that are children of the host's processes are watched and ended."""

    def is_running(self, worker: StartedWorker) -> bool:
        return is_running(_child_of(worker))

    def ask_to_end(self, worker: StartedWorker) -> None:
        send(_child_of(worker), signal.SIGTERM)

    def kill(self, worker: StartedWorker) -> None:
        kill_group(_child_of(worker))

    def forget_others(self, known: Collection[StartedWorker]) -> None:
        """Nothing to do: the fleet notes each child before it looks at the next."""


class ProcessLauncher(ChildWorkers):
    """Starts `python -m services.worker` with the rights of the fleet."""

    name = "process"
    isolation = (
        "NONE: workers of all tenants run as plain processes of one user and can read each "
        "other's memory and files; use it for a first contact and for tests only"
    )

    first_group = None

    def check(self) -> None:
        """Nothing can be missing where nothing is asked for."""

    def start(self, order: WorkerOrder) -> StartedWorker:
        child = start_child(
            [sys.executable, "-m", "services.worker"],
            environment={
                **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                **worker_environment(order),
                "ATELIER_WORKER_TENANT_DIRECTORY": str(order.tenant_directory),
                "ATELIER_WORKER_MODEL_PATH": order.model_path,
            },
            log_path=order.log_path,
            death_signal=None,
        )
        return StartedWorker(session_id=order.session_id, process_id=child.pid, child=child)


def worker_environment(order: WorkerOrder) -> dict[str, str]:
    """Return what every worker is told, however it is started; the paths are the launcher's."""
    return {
        **order.mark,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(order.threads),
        "ATELIER_WORKER_SESSION_ID": order.session_id,
        "ATELIER_WORKER_GPU_ID": order.gpu_id,
        "ATELIER_WORKER_MODEL_NAME": order.model_name,
        "ATELIER_WORKER_BATCH_SLOTS": str(order.batch_slots),
        "ATELIER_WORKER_INTERACTIVE_SLOTS": str(order.interactive_slots),
        "ATELIER_WORKER_THREADS": str(order.threads),
        "ATELIER_WORKER_DRAIN_SECONDS": str(order.drain_seconds),
        # By the driver's name and not by a number: CUDA counts the fastest first, NVML by the bus.
        # Without the card it was given a worker fails loudly and does not draw unmetered elsewhere.
        "CUDA_VISIBLE_DEVICES": order.device_uuid,
        "ATELIER_WORKER_DEVICE": "cuda" if order.device_uuid else "cpu",
    }


def _child_of(worker: StartedWorker) -> ChildProcess:
    assert worker.child is not None, "a worker of another launcher is never asked for here"
    return worker.child
