"""Workers in containers of Docker: no network, no rights, its three sockets, one GPU, and limits.

What was asked for is read back from the kernel, inside the container; a worker that is not confined
as it must be is removed before it has drawn anything.
"""

import subprocess
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig
from pydantic import TypeAdapter
from requests import RequestException

from tenants.launchers.cdi import CdiDevice, read_cdi_devices
from tenants.launchers.confinement import Confinement
from tenants.launchers.container_engine import (
    ContainerEngine,
    check_image_name,
    check_nvidia_toolkit,
    examine_engine,
    limits_on,
)
from tenants.launchers.container_order import (
    LOG_LABEL,
    WRITABLE_MOUNTS,
    ContainerWish,
    container_arguments,
    labels,
)
from tenants.launchers.errors import LauncherUnavailableError, WorkerRefusedError
from tenants.launchers.worker_launcher import StartedWorker, WorkerOrder
from tenants.launchers.worker_limits import Required, WorkerLimits, differences
from tenants.tenant_directories import group_of

_READ_BACK: Final = ["python", "-m", "tenants.launchers.confinement"]
_CONFINEMENT: Final = TypeAdapter(Confinement)
_CALL_SECONDS: Final = 60
# What docker-py raises itself, and what it lets through when the engine is not there.
_ENGINE_ERRORS: Final = (DockerException, RequestException)
_LOG_TAIL_LINES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """What the operator says about workers' containers."""

    image: str
    limits: WorkerLimits
    # Numbers inside the containers; each tenant has one of its own.
    first_user: int = 20_000
    # By device: the full CDI name; a card that is not named here is known by its driver's name.
    cdi_devices: Mapping[str, str] = field(default_factory=dict[str, str])
    paths_on_host: Mapping[str, str] = field(default_factory=dict[str, str])
    # Where the fleet cannot ask the toolkit's own program.
    nvidia_toolkit_version: str | None = None
    # None: as DOCKER_HOST says, else the usual socket.
    engine_url: str | None = None


class ContainerLauncher:
    """Starts each worker as a container that holds it in."""

    name = "container"

    def __init__(self, options: ContainerOptions, mark: Mapping[str, str]) -> None:
        self._options = options
        self._mark = mark
        self._client: docker.DockerClient | None = None
        self._engine: ContainerEngine | None = None

    @property
    def isolation(self) -> str:
        users = "own user namespace, " if self._known_engine.has_user_namespaces else ""
        return (
            f"container: no network, {users}own user and group for each tenant, no capabilities, "
            "system-call filter, read-only root, limits of memory, processes and cores"
        )

    @property
    def first_group(self) -> int | None:
        return self._known_engine.user_offset + self._options.first_user

    def check(self) -> None:
        check_image_name(self._options.image)
        try:
            url = self._options.engine_url
            client = (
                docker.from_env(timeout=_CALL_SECONDS)
                if url is None
                else docker.DockerClient(base_url=url, timeout=_CALL_SECONDS)
            )
            self._engine = examine_engine(client.version(), client.info())
            client.images.get(self._options.image)
        except NotFound as error:
            raise LauncherUnavailableError(
                f"The engine has no image {self._options.image}: build it from docker/Dockerfile "
                "(target worker), or pull it."
            ) from error
        except _ENGINE_ERRORS as error:
            raise LauncherUnavailableError(
                f"The launcher `container` needs Docker Engine >= 25, and none answers: {error}"
            ) from error
        self._client = client

    def start(self, order: WorkerOrder) -> StartedWorker:
        if not Path(order.model_path).is_dir():
            raise WorkerRefusedError(
                f"{order.model_path} is no folder: a worker without a network loads no model of "
                "a hub. Put the model's folder beside the catalogue."
            )
        device = self._device(order)
        user = group_of(order.tenant_directory) - self._known_engine.user_offset
        wish = ContainerWish(
            image=self._options.image,
            limits=limits_on(self._known_engine, self._options.limits, threads=order.threads),
            user=user,
            cdi_device=None if device is None else device.name,
            paths_on_host=self._options.paths_on_host,
        )
        try:
            container = self._create(order, wish)
            try:
                container.start()
                self._hold_to(container, self._required(order, user, device))
                container.reload()
            except BaseException:
                _remove(container)
                raise
        except _ENGINE_ERRORS as error:
            raise WorkerRefusedError(f"Docker did not start it: {error}") from error
        return StartedWorker(
            session_id=order.session_id,
            process_id=int(container.attrs["State"]["Pid"]),
            container_id=container.id,
        )

    def is_running(self, worker: StartedWorker) -> bool:
        try:
            container = self._find(worker)
        except RequestException:
            # An engine that does not answer says nothing about its containers.
            return True
        if container is None:
            return False
        if container.status in {"created", "running", "paused"}:
            return True
        _remove(container)
        return False

    def ask_to_end(self, worker: StartedWorker) -> None:
        self._signal(worker, "SIGTERM")

    def kill(self, worker: StartedWorker) -> None:
        # All processes of its namespace end with its first one.
        self._signal(worker, "SIGKILL")

    def forget_others(self, known: Collection[StartedWorker]) -> None:
        kept = {worker.container_id for worker in known}
        marked = labels(self._mark, self._options.paths_on_host)
        label = "=".join(next(iter(marked.items())))
        for container in self._known_client.containers.list(all=True, filters={"label": label}):
            if container.id not in kept:
                _remove(container)

    @property
    def _known_client(self) -> docker.DockerClient:
        assert self._client is not None, "check() comes first"
        return self._client

    @property
    def _known_engine(self) -> ContainerEngine:
        assert self._engine is not None, "check() comes first"
        return self._engine

    def _create(self, order: WorkerOrder, wish: ContainerWish) -> Container:
        arguments = container_arguments(order, wish)
        arguments["log_config"] = LogConfig(**arguments["log_config"])
        if wish.cdi_device is not None:
            arguments["device_requests"] = [
                DeviceRequest(driver="cdi", device_ids=[wish.cdi_device])
            ]
        return self._known_client.containers.create(**arguments)

    def _device(self, order: WorkerOrder) -> CdiDevice | None:
        name = self._options.cdi_devices.get(order.gpu_id)
        if name is None and order.device_uuid:
            name = f"nvidia.com/gpu={order.device_uuid}"
        if name is None:
            return None
        if not self._known_engine.cdi_folders:
            raise WorkerRefusedError(
                f"{name} is handed out by CDI, which this engine has switched off: set "
                '"features": {"cdi": true} in its daemon.json.'
            )
        known = read_cdi_devices(self._known_engine.cdi_folders)
        if (device := known.get(name)) is None:
            raise WorkerRefusedError(
                f"No CDI description of {name} is in "
                f"{', '.join(map(str, self._known_engine.cdi_folders))}: "
                "`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` writes them."
            )
        check_nvidia_toolkit(device, self._toolkit_version)
        return device

    def _toolkit_version(self, program: str) -> str:
        if self._options.nvidia_toolkit_version is not None:
            return self._options.nvidia_toolkit_version
        return subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=10
        ).stdout

    def _required(self, order: WorkerOrder, user: int, device: CdiDevice | None) -> Required:
        limits = limits_on(self._known_engine, self._options.limits, threads=order.threads)
        return Required(
            user=user,
            group=user,
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            cpus=limits.cpus_for(order.threads),
            devices=frozenset() if device is None else device.nodes,
            writable_mounts=WRITABLE_MOUNTS,
            own_user_namespace=self._known_engine.has_user_namespaces,
        )

    def _hold_to(self, container: Container, required: Required) -> None:
        code, answer = container.exec_run(_READ_BACK, demux=True)
        told, complained = cast("tuple[bytes | None, bytes | None]", answer)
        if code != 0:
            raise WorkerRefusedError(
                "its confinement could not be read back: "
                f"{(complained or told or b'').decode(errors='replace')[-500:]}"
            )
        if wrong := [*differences(required, _CONFINEMENT.validate_json(told or b""))]:
            raise WorkerRefusedError(f"it is not confined as it must be: {'; '.join(wrong)}")

    def _find(self, worker: StartedWorker) -> Container | None:
        assert worker.container_id is not None, "a worker of another launcher is not asked for here"
        with suppress(NotFound):
            return self._known_client.containers.get(worker.container_id)
        return None

    def _signal(self, worker: StartedWorker, name: str) -> None:
        # Docker refuses to signal what has just ended; without an answer the next look tries again.
        with suppress(APIError, RequestException):
            if (container := self._find(worker)) is not None:
                container.kill(name)


def _remove(container: Container) -> None:
    """Take away a container; what it said at the end is kept where its order wanted it."""
    with suppress(APIError, OSError), Path(container.labels[LOG_LABEL]).open("ab") as log:
        log.write(container.logs(tail=_LOG_TAIL_LINES))
    with suppress(APIError):
        container.remove(force=True)
