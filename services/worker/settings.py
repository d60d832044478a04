"""What a worker is told at its start, from ATELIER_WORKER_…."""

from pathlib import Path
from typing import Literal, Self
from uuid import uuid4

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.engine.device_plan import MemoryWish
from services.engine.memory_plan import GB
from services.transport.broker_places import BrokerPlace, broker_at
from services.transport.callees import Callee, callee_of
from services.transport.tls_files import check_identity


class Settings(BaseSettings):
    """Frozen; every missing value is reported at once."""

    # `model_` is pydantic's own prefix, which two of our names begin with.
    model_config = SettingsConfigDict(
        env_prefix="ATELIER_WORKER_", frozen=True, protected_namespaces=()
    )

    tenant_directory: Path = Field(
        default=Path("/nonexistent"),
        description="holds the tenant's sockets; needed for each address that is not set",
    )
    recorder_address: str | None = Field(default=None, description="host:port, of another host")
    broker_address: str | None = Field(default=None, description="host:port of the tenant's own")
    meter_address: str | None = Field(default=None, description="host:port on this very host")
    identity_directory: Path | None = Field(
        default=None, description="with tls.crt, tls.key, ca.crt; needed for addresses"
    )
    gpu_id: str = Field(
        default="", description="as the meter names it; in a pod unset: by the card's UUID"
    )
    visible_devices: str = Field(
        default="",
        validation_alias="NVIDIA_VISIBLE_DEVICES",
        description="what a pod was given, such as GPU-5a…",
    )
    session_id: str = Field(
        default_factory=lambda: uuid4().hex,
        description="how the recorder and the fleet know this start of the worker",
    )
    model_name: str = Field(description="as in the catalogue; also the queue's name")
    model_path: str = Field(description="a folder in diffusers format, or a hub's name")
    device: str = Field(default="auto", description="auto: the GPU where there is one, else cpu")
    backend: str = Field(
        default="auto",
        description="none, scaled_mm, transformer_engine, weight_storage; auto: by the GPU's kind",
    )
    fp8_recipe: str = Field(default="current", description="transformer_engine's: current, block")
    attention: str = Field(default="auto", description="torch, cudnn, flash, flash_4")
    modulation: str = Field(
        default="resident",
        description="offloaded keeps a third of the transformer's weights in the host's memory",
    )
    memory_reserve_gb: NonNegativeFloat = Field(
        default=2.5, description="GB of the GPU's memory that are kept free"
    )
    memory_gb: PositiveFloat | None = Field(
        default=None, description="use no more of the device than this; on a CPU none is planned"
    )
    text_encoders: Literal["auto", "resident", "offloaded"] = Field(
        default="auto", description="offloaded keeps them in the host's memory"
    )
    batch_slots: PositiveInt = 4
    interactive_slots: NonNegativeInt = 1
    threads: PositiveInt = 1
    heartbeat_seconds: PositiveFloat = 1.0
    # Above the longest image on this worker, else running images are handed back.
    drain_seconds: PositiveFloat = 100.0
    # More than three times the slowest step; load and compile do not count.
    engine_stall_seconds: PositiveFloat = 120.0
    turn_seconds_max: PositiveFloat = Field(
        default=120.0,
        description="a worker that neither tries to reach its broker or its recorder for so long "
        "ends itself; trying in vain is no hanging",
    )
    pulse_grace_seconds: PositiveFloat = Field(
        default=30.0, description="so much longer than the bounds above, for it ends itself first"
    )

    @property
    def memory_wish(self) -> MemoryWish:
        return MemoryWish(
            reserve_bytes=round(self.memory_reserve_gb * GB),
            memory_bytes=None if self.memory_gb is None else round(self.memory_gb * GB),
            text_encoders=self.text_encoders,
        )

    @property
    def broker(self) -> BrokerPlace:
        """Where tokens come from."""
        if self.broker_address is None:
            return BrokerPlace(listens_at=self.tenant_directory / "broker.sock")
        return broker_at(self.broker_address, self.identity_directory)

    @property
    def recorder(self) -> Callee:
        """Whom to ask for work."""
        return callee_of(
            self.recorder_address,
            self.identity_directory,
            socket=self.tenant_directory / "recorder.sock",
        )

    def meter_of(self, gpu_id: str) -> Callee:
        """Whom to tell marks of a device."""
        return callee_of(
            self.meter_address,
            self.identity_directory,
            socket=self.tenant_directory / gpu_id / "meter.sock",
        )

    @model_validator(mode="after")
    def _others_can_be_reached(self) -> Self:
        addresses = {
            "recorder_address": self.recorder_address,
            "broker_address": self.broker_address,
            "meter_address": self.meter_address,
        }
        check_identity(self.identity_directory, **addresses)
        if None in addresses.values() and "tenant_directory" not in self.model_fields_set:
            raise ValueError("tenant_directory: needed for whoever has no address set")
        if not self.gpu_id and self.meter_address is None:
            raise ValueError("gpu_id: needed without meter_address")
        return self
