"""What the fleet is told at its start, from ATELIER_FLEET_…."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.fleet.allocation import AllocationRules
from services.fleet.heat import PowerPolicy
from services.metrics.listener import ListenAddress
from services.transport.callees import Callee, callee_of
from services.transport.tls_files import check_identity
from tenants.launchers.worker_limits import WorkerLimits
from tenants.run_directory import RunDirectory

_GIB = 1024**3


class Settings(BaseSettings):
    """Frozen; every missing value is reported at once."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_FLEET_", frozen=True)

    database_url: SecretStr = Field(description="of the role atelier_fleet")
    run_directory: Path
    meter_address: str | None = Field(default=None, description="host:port, of another host")
    meter_addresses: tuple[str, ...] = Field(
        default=(),
        description="JSON: host:port of the meters of all nodes, a name for many of them too; "
        "for a fleet that assigns nothing",
    )
    identity_directory: Path | None = Field(
        default=None, description="with tls.crt, tls.key, ca.crt; needed for addresses"
    )
    assigns: bool = Field(
        default=True,
        description="false on Kubernetes, which places workers itself: this one answers KEDA and "
        "keeps the cards of all nodes cool",
    )
    scaler_listen_address: str | None = Field(
        default=None, description="host:port for KEDA's questions about open work"
    )
    metrics_listen_address: ListenAddress | None = Field(
        default=None, description="host:port of /metrics, in clear text; none: nobody is told"
    )
    broker_data_directory: Path = Field(description="the brokers' append-only files")
    log_directory: Path
    model_catalogue_path: Path
    random_checkpoint_path: Path | None = Field(
        default=None, description="the folder that the source random-checkpoint stands for"
    )
    launcher: Literal["process", "sandbox", "container"] = Field(
        default="process", description="what keeps tenants' workers apart; `process`: nothing"
    )
    container_image: str = Field(
        default="", description="of the worker, by digest: sha256:… or name@sha256:…"
    )
    cdi_devices: dict[str, str] = Field(
        default={},
        description='JSON, such as {"gpu-0": "nvidia.com/gpu=0"}; unset: by its UUID',
    )
    paths_on_host: dict[str, str] = Field(
        default={},
        description="JSON: folders of a fleet in a container, and where Docker finds them",
    )
    nvidia_toolkit_version: str | None = Field(
        default=None, description="where the fleet cannot ask nvidia-ctk itself"
    )
    worker_memory_gb: PositiveFloat = Field(default=16.0, description="of main memory, no swap")
    worker_processes_max: PositiveInt = Field(default=1024, description="threads count as such")
    worker_tmp_gb: PositiveFloat = Field(default=1.0, description="in memory, within the above")
    worker_cores: PositiveFloat | None = Field(
        default=None, description="unset: half a core more than its threads"
    )
    container_user_first: PositiveInt = Field(
        default=20_000,
        le=60_000,
        description="of the tenants' users and groups, as the containers know them",
    )
    sandbox_user_first: PositiveInt = Field(
        default=520_000,
        ge=1_000,
        description="of the tenants' users and groups on this host; nobody else may have them",
    )
    cpu_device_count: PositiveInt | None = Field(
        default=None,
        description="workers that may share this machine's processor, cpu-0, cpu-1, …; "
        "unset: the devices that the meter finds",
    )
    gpu_ids: tuple[str, ...] = Field(
        default=(),
        description="only these of the devices that the meter finds, such as gpu-0, gpu-2",
    )
    temperature_celsius_max: float = Field(
        default=80.0, ge=40.0, le=95.0, description="of a GPU without a power policy"
    )
    duty_cycle_max: float = Field(
        default=0.9, ge=0.1, le=1.0, description="sustained load of a GPU without a power policy"
    )
    threads_per_worker: PositiveInt | None = Field(
        default=None, description="unset: the cores divided by the workers"
    )
    devices_per_tenant_max: PositiveInt = Field(
        default=1_000, description="GPUs; on the processor, which all share, a tenant has 1"
    )
    dwell_seconds_min: PositiveFloat = Field(
        default=60.0, description="a tenant with work keeps its device at least so long"
    )
    dwell_per_cold_start: PositiveFloat = Field(
        default=9.0, description="… and this many times as long as the change of hands takes"
    )
    idle_seconds: PositiveFloat = Field(
        default=900.0, description="a worker without work is ended after this time"
    )
    burnt_seconds_max: PositiveFloat = Field(
        default=300.0,
        description="GPU-seconds a tenant may burn by creating and cancelling before it must wait",
    )
    cold_start_seconds_before_measured: PositiveFloat = 20.0
    picture_seconds_before_measured: PositiveFloat = 10.0
    tick_seconds: PositiveFloat = 0.5
    # Above the longest image: a worker that leaves its device finishes what it draws.
    drain_seconds: PositiveFloat = 120.0
    end_seconds: PositiveFloat | None = Field(
        default=None,
        description="what workers get when the fleet ends them with itself; "
        "unset: as much as for a drain",
    )
    # A worker whose heartbeats stopped this long ago although the recorder serves is replaced.
    silence_seconds: PositiveFloat = 30.0
    # Otherwise brokers and workers outlive the fleet and the next one adopts them.
    end_children_at_exit: bool = False

    @model_validator(mode="after")
    def _addresses_have_a_certificate(self) -> Self:
        check_identity(
            self.identity_directory,
            meter_address=self.meter_address,
            scaler_listen_address=self.scaler_listen_address,
            meter_addresses=next(iter(self.meter_addresses), None),
        )
        if self.assigns and self.meter_addresses:
            raise ValueError("meter_addresses: a fleet that assigns knows its own host's alone")
        if not self.assigns and self.scaler_listen_address is None:
            raise ValueError("assigns is false and scaler_listen_address unset: nothing to do")
        return self

    @property
    def meter(self) -> Callee:
        """Who knows the devices."""
        socket = RunDirectory(self.run_directory).meter_socket
        return callee_of(self.meter_address, self.identity_directory, socket=socket)

    @property
    def rules(self) -> AllocationRules:
        """What the allocation of devices goes by."""
        return AllocationRules(
            dwell_seconds_min=self.dwell_seconds_min,
            dwell_per_cold_start=self.dwell_per_cold_start,
            idle_seconds=self.idle_seconds,
            devices_per_tenant_max=self.devices_per_tenant_max,
            burnt_seconds_max=self.burnt_seconds_max,
        )

    @property
    def worker_limits(self) -> WorkerLimits:
        """What a sandbox or a container bounds."""
        return WorkerLimits(
            memory_bytes=round(self.worker_memory_gb * _GIB),
            processes=self.worker_processes_max,
            tmp_bytes=round(self.worker_tmp_gb * _GIB),
            cpus=self.worker_cores,
        )

    @property
    def configured_ids(self) -> tuple[str, ...]:
        """Devices by the operator's word; none: those that the meter finds."""
        return self.gpu_ids or tuple(
            f"cpu-{number}" for number in range(self.cpu_device_count or 0)
        )

    @property
    def power_policy(self) -> PowerPolicy:
        """Of a GPU for which the operator has set none."""
        return PowerPolicy(
            temperature_celsius_max=self.temperature_celsius_max,
            duty_cycle_max=self.duty_cycle_max,
        )
