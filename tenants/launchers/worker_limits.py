"""How much of the host a worker may take, and what is asked of its confinement."""

from collections.abc import Iterator
from dataclasses import dataclass

from tenants.launchers.confinement import Confinement

_SECCOMP_FILTER = 2
_PAGE_BYTES = 4096
_CPU_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """The most one worker may take; the same for all."""

    memory_bytes: int
    # Threads count as processes.
    processes: int
    # Of the in-memory file system /tmp, within the memory above.
    tmp_bytes: int
    # Cores; None: as many as it has threads, and half of one for everything around them.
    cpus: float | None = None

    def cpus_for(self, threads: int) -> float:
        return self.cpus if self.cpus is not None else threads + 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Required:
    """What must be read back from the kernel before a worker is believed to be confined."""

    user: int
    group: int
    memory_bytes: int
    processes: int
    cpus: float
    devices: frozenset[str]
    writable_mounts: frozenset[str]
    own_user_namespace: bool


def differences(required: Required, found: Confinement) -> Iterator[str]:
    """Tell in words what is not as it must be; nothing: the worker is confined."""
    if (found.user, found.group) != (required.user, required.group) or found.other_groups:
        yield f"it runs as {found.user}:{found.group} with the groups {found.other_groups}"
    if found.user == 0:
        yield "it runs as root"
    if found.capabilities:
        yield f"it has the capabilities {found.capabilities:#x}"
    if not found.no_new_privileges:
        yield "it could gain privileges"
    if found.seccomp_mode != _SECCOMP_FILTER:
        yield "no seccomp filter is upon it"
    if required.own_user_namespace and not found.own_user_namespace:
        yield "it is in the host's user namespace"
    if set(found.network_interfaces) - {"lo"}:
        yield f"it has a network: {', '.join(found.network_interfaces)}"
    if not found.root_is_read_only:
        yield "its root can be written to"
    if surplus := set(found.writable_mounts) - required.writable_mounts:
        yield f"it can write to {', '.join(sorted(surplus))}"
    yield from _differing_devices(required, found)
    yield from _differing_limits(required, found)


def _differing_devices(required: Required, found: Confinement) -> Iterator[str]:
    if missing := required.devices - set(found.devices):
        yield f"it lacks {', '.join(sorted(missing))}"
    if surplus := set(found.devices) - required.devices:
        yield f"it was given {', '.join(sorted(surplus))} too"


def _differing_limits(required: Required, found: Confinement) -> Iterator[str]:
    for name, limit in (
        ("memory", found.memory_bytes_max),
        ("memory and swap", found.memory_and_swap_bytes_max),
    ):
        # The kernel counts in pages.
        if limit is None or limit > required.memory_bytes + _PAGE_BYTES:
            yield f"its {name} is limited to {limit} and not to {required.memory_bytes} bytes"
    if found.processes_max is None or found.processes_max > required.processes:
        yield f"its processes are limited to {found.processes_max} and not to {required.processes}"
    if found.cpu_seconds_max is None or found.cpu_seconds_max > required.cpus + _CPU_TOLERANCE:
        yield f"its cores are limited to {found.cpu_seconds_max} and not to {required.cpus}"
