"""From a worker's order to what bubblewrap is asked for: a host with almost nothing in it."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenants.launchers.container_order import MODEL_MOUNT, TENANT_MOUNT
from tenants.launchers.errors import LauncherUnavailableError
from tenants.launchers.worker_launcher import WorkerOrder
from tenants.launchers.worker_limits import WorkerLimits

# What a worker may import of ours; by package, because the folder they lie in holds more.
_PACKAGES: Final = ("database", "metering", "services", "tenants")
# Where Debian's merged /usr has its short names.
_SHORT_NAMES: Final = ("bin", "lib", "lib32", "lib64", "sbin")
_HOST_FILES: Final = ("/etc/ld.so.cache", "/etc/localtime")
_SHARED_MEMORY_BYTES: Final = 256 * 1024 * 1024
WRITABLE_MOUNTS: Final = frozenset({"/dev/shm", "/tmp"})  # noqa: S108 -- the sandbox's
# The shell puts itself into the control groups; whatever it becomes stays there.
_ENTER: Final = """
for members in $ATELIER_CONTROL_GROUPS; do echo $$ > "$members" || exit 1; done
unset ATELIER_CONTROL_GROUPS
exec "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPrograms:
    """What the host must have."""

    bubblewrap: str
    setpriv: str


def sandbox_command(
    order: WorkerOrder,
    program: Sequence[str],
    *,
    programs: SandboxPrograms,
    user: int,
    limits: WorkerLimits,
    device_nodes: Sequence[str],
    filter_file: int,
    news_file: int,
) -> list[str]:
    """Return the command; `news_file` is told the worker's process number as the host knows it."""
    return [
        *("/bin/sh", "-c", _ENTER, "enter", programs.bubblewrap),
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup"),
        *("--hostname", "worker", "--cap-drop", "ALL"),
        # What the last program before the worker needs, to become the tenant's user for good.
        *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"),
        # A first process of our own would get no signal of ours.
        *("--as-pid-1", "--info-fd", str(news_file), "--seccomp", str(filter_file)),
        *_view(order, limits, device_nodes),
        *("--chdir", "/tmp", "--", programs.setpriv),  # noqa: S108 -- the sandbox's own
        *("--reuid", str(user), "--regid", str(user), "--clear-groups"),
        *("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--", *program),
    ]


def _view(order: WorkerOrder, limits: WorkerLimits, device_nodes: Sequence[str]) -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _SHORT_NAMES:
        path = Path("/") / name
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    # Before the code, which may lie below a folder of that name.
    yield from _memory("/tmp", limits.tmp_bytes)  # noqa: S108 -- the sandbox's own
    code = code_folders()
    for folder in _ways_to(code):
        yield from ("--dir", str(folder))
    for file in _HOST_FILES:
        yield from ("--ro-bind-try", file, file)
    for folder in code:
        yield from ("--ro-bind", str(folder), str(folder))
    yield from ("--ro-bind", str(order.tenant_directory), TENANT_MOUNT)
    yield from ("--ro-bind", order.model_path, MODEL_MOUNT)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for node in device_nodes:
        yield from ("--dev-bind", node, node)
    yield from _memory("/dev/shm", _SHARED_MEMORY_BYTES)  # noqa: S108 -- the sandbox's own
    yield from ("--remount-ro", "/dev", "--remount-ro", "/")


def _memory(folder: str, size_bytes: int) -> Sequence[str]:
    return ("--perms", "1777", "--size", str(size_bytes), "--tmpfs", folder)


def _ways_to(folders: Sequence[Path]) -> list[Path]:
    """Return every folder above, the highest first: bubblewrap would make them for root alone."""
    above = {parent for folder in folders for parent in folder.parents}
    return [Path("/etc"), Path("/run"), *sorted(above - {Path("/"), Path("/tmp")})]  # noqa: S108


def code_folders() -> list[Path]:
    """Return where Python, the packages it was installed with, and ours lie."""
    folders = [Path(sys.prefix), Path(sys.base_prefix)]
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise LauncherUnavailableError(f"The package {name} is not installed here.")
        folders.append(Path(spec.origin).parent)
    outside = [folder.resolve() for folder in folders if not folder.is_relative_to("/usr")]
    return sorted(
        {
            one
            for one in outside
            if not any(one != other and one.is_relative_to(other) for other in outside)
        }
    )
