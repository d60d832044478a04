"""From a worker's order to what Docker is asked for: everything that keeps the worker in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tenants.launchers.process_launcher import worker_environment
from tenants.launchers.worker_launcher import WorkerOrder
from tenants.launchers.worker_limits import WorkerLimits

# Short: the sockets' paths in it may have 107 bytes.
TENANT_MOUNT: Final = "/run/tenant"
MODEL_MOUNT: Final = "/run/model"
_SHARED_MEMORY_BYTES: Final = 256 * 1024 * 1024
SECCOMP_PROFILE: Final = Path(__file__).with_name("seccomp.json")
# What is written in a container: nothing but these, and all in memory.
WRITABLE_MOUNTS: Final = frozenset({"/dev/mqueue", "/dev/shm", "/tmp"})  # noqa: S108 -- the container's
_RUN_LABEL: Final = "atelier.run-directory"
# An image that Compose built carries Compose's labels, and the worker would count as one of the
# service whose image it shares.
_NOBODYS: Final = {"com.docker.compose.project": "", "com.docker.compose.service": ""}
LOG_LABEL: Final = "atelier.log-path"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerWish:
    """What a worker's container is made from, beside its order."""

    image: str
    limits: WorkerLimits
    # Inside the container.
    user: int
    # Full name; None for a worker that draws on the processor.
    cdi_device: str | None
    # The fleet's path of a folder → the engine's, where the fleet itself is in a container.
    paths_on_host: Mapping[str, str]


def container_name(order: WorkerOrder) -> str:
    """Name a post's container, so that nobody holds one twice."""
    return f"atelier-worker-{order.tenant_id}-{order.gpu_id}-{order.session_id[:8]}"


def labels(mark: Mapping[str, str], paths_on_host: Mapping[str, str]) -> dict[str, str]:
    """Mark a container as one of this run directory's fleet.

    By the engine's path: fleets in containers all see theirs at the same place, and must not take
    each other's workers for their own.
    """
    return {_RUN_LABEL: _on_host(Path(next(iter(mark.values()), "")), paths_on_host)}


def container_arguments(order: WorkerOrder, wish: ContainerWish) -> dict[str, Any]:
    """Return what docker-py's `containers.create` is told, without the device's own type."""
    paths = wish.paths_on_host
    tmp_options = f"rw,noexec,nosuid,nodev,size={wish.limits.tmp_bytes},mode=1777"
    return {
        "image": wish.image,
        "name": container_name(order),
        "labels": {
            **_NOBODYS,
            **labels(order.mark, paths),
            LOG_LABEL: str(order.log_path),
        },
        "environment": {
            **worker_environment(order),
            "HOME": "/tmp",  # noqa: S108 -- the container's own
            "ATELIER_WORKER_TENANT_DIRECTORY": TENANT_MOUNT,
            "ATELIER_WORKER_MODEL_PATH": MODEL_MOUNT,
        },
        "user": f"{wish.user}:{wish.user}",
        "network_mode": "none",
        "hostname": "worker",
        "init": True,
        "read_only": True,
        "tmpfs": {"/tmp": tmp_options},  # noqa: S108 -- the container's own
        "shm_size": _SHARED_MEMORY_BYTES,
        "cap_drop": ["ALL"],
        "privileged": False,
        "ipc_mode": "private",
        "cgroupns": "private",
        "security_opt": [
            "no-new-privileges:true",
            # Inline: that is how Docker's API takes it; a path would be the engine's.
            f"seccomp={SECCOMP_PROFILE.read_text()}",
        ],
        "mem_limit": wish.limits.memory_bytes,
        # Memory and swap together: no swap.
        "memswap_limit": wish.limits.memory_bytes,
        "pids_limit": wish.limits.processes,
        "nano_cpus": round(wish.limits.cpus_for(order.threads) * 1e9),
        "oom_kill_disable": False,
        "volumes": {
            _on_host(order.tenant_directory, paths): {"bind": TENANT_MOUNT, "mode": "ro"},
            _on_host(Path(order.model_path), paths): {"bind": MODEL_MOUNT, "mode": "ro"},
        },
        "restart_policy": {"Name": "no"},
        "log_config": {"type": "json-file", "config": {"max-size": "10m", "max-file": "2"}},
    }


def _on_host(path: Path, paths_on_host: Mapping[str, str]) -> str:
    for inside, outside in paths_on_host.items():
        if path.is_relative_to(inside):
            return str(PurePosixPath(outside) / path.relative_to(inside))
    return str(path)
