"""What the meter is told at its start, from ATELIER_METER_…."""

from pathlib import Path
from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from metering.cpu_energy import IDLE_WATTS, JOULES_PER_CPU_SECOND
from services.metrics.listener import ListenAddress
from services.transport.callees import Callee, callee_of
from services.transport.tls_files import check_identity
from tenants.run_directory import RunDirectory


class Settings(BaseSettings):
    """Frozen; every missing value is reported at once.

    Watts and joules per unit of work shape the interpolation between two readings; they do not
    change what a real counter says. For an estimated counter idle watts and joules per CPU second
    are the counter.
    """

    model_config = SettingsConfigDict(env_prefix="ATELIER_METER_", frozen=True)

    run_directory: Path
    recorder_address: str | None = Field(default=None, description="host:port, of another host")
    listen_address: str | None = Field(
        default=None,
        description="host:port for workers and fleet in pods; cards are then named by their UUID",
    )
    identity_directory: Path | None = Field(
        default=None, description="with tls.crt, tls.key, ca.crt; needed for addresses"
    )
    metrics_listen_address: ListenAddress | None = Field(
        default=None, description="host:port of /metrics, in clear text; none: nobody is told"
    )
    use_gpus: bool = Field(default=True, description="meter NVIDIA devices where there are any")
    cpu_device_count: PositiveInt = Field(
        default=8,
        description="without a GPU: workers that may share the processor, cpu-0, cpu-1, …",
    )
    cpu_idle_watts: PositiveFloat = Field(
        default=IDLE_WATTS, description="of one processor device, whether a worker is there or not"
    )
    cpu_joules_per_cpu_second: NonNegativeFloat = JOULES_PER_CPU_SECOND
    cpu_load_watts: PositiveFloat = Field(
        default=IDLE_WATTS + JOULES_PER_CPU_SECOND, description="one thread is busy"
    )
    cpu_joules_per_work_unit: NonNegativeFloat = Field(
        default=0.06, description="2.76 J per CPU second at about 50 billion operations per second"
    )
    calibration_path: Path | None = Field(
        default=None,
        description=(
            "what benchmarks/energy_on_gpu.py measured of a card: in place of the gpu_… below for"
            " the GPUs of that name"
        ),
    )
    # Measured on an H200: 124 W with a parked context, 3543 J for the 1758 TFLOP of an eager bf16
    # picture in 5.18 s, so (3543 − 5.18 × 124) / 1,758,000 J per billion operations.
    gpu_idle_watts: PositiveFloat = 124.0
    gpu_free_watts: PositiveFloat = Field(default=85.0, description="no process is on the GPU")
    gpu_load_watts: PositiveFloat = 150.0
    gpu_joules_per_work_unit: NonNegativeFloat = 0.00165
    flush_seconds: PositiveFloat = Field(
        default=3.0, description="how long the last segments are offered to the recorder at the end"
    )

    @model_validator(mode="after")
    def _addresses_have_a_certificate(self) -> Self:
        check_identity(
            self.identity_directory,
            recorder_address=self.recorder_address,
            listen_address=self.listen_address,
        )
        return self

    @property
    def recorder(self) -> Callee:
        """Who stores segments."""
        socket = RunDirectory(self.run_directory).recorder_meter_socket
        return callee_of(self.recorder_address, self.identity_directory, socket=socket)
