"""Docker as it is on this host: whether it can isolate, and how it numbers users."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from tenants.launchers.cdi import CdiDevice
from tenants.launchers.errors import LauncherUnavailableError, WorkerRefusedError
from tenants.launchers.worker_limits import WorkerLimits

_OLDEST_ENGINE: Final = (25, 0)
# CVE-2024-0132, CVE-2025-23359, CVE-2025-23266: before this a container could take over the host.
_OLDEST_NVIDIA_TOOLKIT: Final = (1, 17, 8)
_DIGEST: Final = re.compile(r"(\S+@)?sha256:[0-9a-f]{64}")
_ROOT_OF_USERS: Final = re.compile(r"/(\d+)\.(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEngine:
    """What the engine said of itself when the fleet began."""

    # Added to a user's number inside a container it is the number outside; 0: no user namespaces.
    user_offset: int
    cdi_folders: tuple[Path, ...]
    # It refuses a container that is to have more.
    cores: int

    @property
    def has_user_namespaces(self) -> bool:
        return self.user_offset > 0


def examine_engine(version: Mapping[str, Any], about: Mapping[str, Any]) -> ContainerEngine:
    """Judge the answers of `docker version` and `docker info`.

    Raises:
        LauncherUnavailableError: all that is missing, in one sentence each.
    """
    if missing := [*_missing(version, about)]:
        raise LauncherUnavailableError(" ".join(missing))
    return ContainerEngine(
        user_offset=_user_offset(about),
        cdi_folders=tuple(Path(folder) for folder in about.get("CDISpecDirs") or ()),
        cores=int(about["NCPU"]),
    )


def _missing(version: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    components = cast("list[dict[str, Any]]", version.get("Components") or [])
    if any("podman" in str(one.get("Name", "")).lower() for one in components):
        yield (
            "This is Podman, which ignores requests for GPUs and limits without a word: "
            "the launcher `container` needs Docker Engine >= 25."
        )
    found = str(version.get("Version", ""))
    if _numbers(found) < _OLDEST_ENGINE:
        yield f"The launcher `container` needs Docker Engine >= 25; this one is {found}."
    options = [str(option) for option in about.get("SecurityOptions") or ()]
    if not any("name=seccomp" in option for option in options):
        yield "The engine has no seccomp: its kernel or its build lacks it."
    for name, words in _LIMITS.items():
        if not about.get(name):
            yield f"The engine cannot limit {words}: its control groups lack it."


_LIMITS: Final = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "cores"}


def limits_on(engine: ContainerEngine, limits: WorkerLimits, *, threads: int) -> WorkerLimits:
    """Return the limits with the cores filled in that a worker gets on this engine.

    A worker that is alone has a thread for each core, and beside them there is no half of one.
    """
    return replace(limits, cpus=min(limits.cpus_for(threads), float(engine.cores)))


def check_image_name(name: str) -> None:
    """Refuse what may be another image tomorrow.

    Raises:
        LauncherUnavailableError: it is not named by its digest.
    """
    if not _DIGEST.fullmatch(name):
        raise LauncherUnavailableError(
            f"The worker's image must be named by digest, and {name or 'an empty name'!r} is not: "
            "`docker image inspect --format '{{.Id}}' atelier/worker` tells it."
        )


def check_nvidia_toolkit(device: CdiDevice, version_of: Callable[[str], str]) -> None:
    """Refuse a device whose description calls an NVIDIA toolkit that is known to be a way out.

    `version_of` asks a program of the host for its version; OSError when it is not there.

    Raises:
        WorkerRefusedError: it is too old, or cannot be asked.
    """
    for hook in sorted(device.hooks):
        if "nvidia" not in Path(hook).name:
            continue
        try:
            found = version_of(hook)
        except OSError as error:
            raise WorkerRefusedError(
                f"{device.name} is handed out by {hook}, which cannot be asked for its version "
                f"({error}): name it in ATELIER_FLEET_NVIDIA_TOOLKIT_VERSION."
            ) from error
        if _numbers(found) < _OLDEST_NVIDIA_TOOLKIT:
            raise WorkerRefusedError(
                f"{device.name} is handed out by the NVIDIA container toolkit {found}; before "
                "1.17.8 a container can take the host over (CVE-2025-23266): update it."
            )


def _numbers(version: str) -> tuple[int, ...]:
    match = re.search(r"\d+(\.\d+)+", version)
    return tuple(int(word) for word in match[0].split(".")) if match else ()


def _user_offset(about: Mapping[str, Any]) -> int:
    """Docker keeps the images of each range of users in a folder that is named by its start."""
    options = [str(option) for option in about.get("SecurityOptions") or ()]
    if not any("name=userns" in option for option in options):
        return 0
    match = _ROOT_OF_USERS.search(str(about.get("DockerRootDir", "")))
    if match is None:
        raise LauncherUnavailableError(
            "The engine maps users and does not say to which numbers: without them no group of "
            "the host can be given to a worker."
        )
    return int(match[1])
