"""What the fleet is told at its start, from ATELIER_FLEET_…."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Frozen; every missing value is reported at once."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_FLEET_", frozen=True)

    database_url: SecretStr = Field(description="of the role atelier_fleet")
    run_directory: Path
    broker_data_directory: Path = Field(description="the brokers' append-only files")
    log_directory: Path
    model_catalogue_path: Path
    random_checkpoint_path: Path | None = Field(
        default=None, description="the folder that the source random-checkpoint stands for"
    )
    launcher: Literal["process"] = "process"
    cpu_device_count: PositiveInt = Field(
        default=8, description="workers that may share this machine's processor: cpu-0, cpu-1, …"
    )
    gpu_ids: tuple[str, ...] = Field(
        default=(), description="NVIDIA devices, as gpu-0; with any, the processor draws nothing"
    )
    threads_per_worker: PositiveInt | None = Field(
        default=None, description="unset: the cores divided by the workers"
    )
    tick_seconds: PositiveFloat = 0.5
    drain_seconds: PositiveFloat = 120.0
    # A worker whose heartbeats stopped this long ago although the recorder serves is replaced.
    silence_seconds: PositiveFloat = 30.0
    # Otherwise brokers and workers outlive the fleet and the next one adopts them.
    end_children_at_exit: bool = False

    @property
    def devices(self) -> tuple[str, ...]:
        return self.gpu_ids or tuple(f"cpu-{number}" for number in range(self.cpu_device_count))
