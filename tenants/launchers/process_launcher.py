"""Workers as plain processes: for a first contact on any machine. It isolates nothing."""

import os
import sys
from typing import Final

from tenants.launchers.child_process import ChildProcess, start_child
from tenants.launchers.worker_launcher import WorkerOrder

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


class ProcessLauncher:
    """Starts `python -m services.worker` with the rights of the fleet."""

    name = "process"
    isolation = (
        "NONE: workers of all tenants run as plain processes of one user and can read each "
        "other's memory and files; use it for a first contact and for tests only"
    )

    def start(self, order: WorkerOrder) -> ChildProcess:
        return start_child(
            [sys.executable, "-m", "services.worker"],
            environment=worker_environment(order),
            log_path=order.log_path,
            death_signal=None,
        )


def worker_environment(order: WorkerOrder) -> dict[str, str]:
    """Return all that a worker's process has in its environment."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        **order.mark,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(order.threads),
        "ATELIER_WORKER_TENANT_DIRECTORY": str(order.tenant_directory),
        "ATELIER_WORKER_GPU_ID": order.gpu_id,
        "ATELIER_WORKER_MODEL_NAME": order.model_name,
        "ATELIER_WORKER_MODEL_PATH": order.model_path,
        "ATELIER_WORKER_BATCH_SLOTS": str(order.batch_slots),
        "ATELIER_WORKER_INTERACTIVE_SLOTS": str(order.interactive_slots),
        "ATELIER_WORKER_THREADS": str(order.threads),
        "ATELIER_WORKER_DRAIN_SECONDS": str(order.drain_seconds),
        # By the driver's name and not by a number: CUDA counts the fastest first, NVML by the bus.
        # Without the card it was given a worker fails loudly and does not draw unmetered elsewhere.
        "CUDA_VISIBLE_DEVICES": order.device_uuid,
        "ATELIER_WORKER_DEVICE": "cuda" if order.device_uuid else "cpu",
    }
