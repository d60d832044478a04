"""What the recorder is told at its start, from ATELIER_RECORDER_…."""

from pathlib import Path
from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.metrics.listener import ListenAddress
from services.transport.tls_files import check_identity


class Settings(BaseSettings):
    """Frozen; every missing value is reported at once."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_RECORDER_", frozen=True)

    database_url: SecretStr = Field(description="of the role atelier_recorder")
    meter_intake_database_url: SecretStr = Field(description="of the role atelier_meter_intake")
    database_connections_max: PositiveInt = 8
    run_directory: Path
    spool_directory: Path
    listen_address: str | None = Field(
        default=None, description="host:port for workers, meters and gateways of other hosts"
    )
    identity_directory: Path | None = Field(
        default=None, description="with tls.crt, tls.key, ca.crt; needed to listen on an address"
    )
    metrics_listen_address: ListenAddress | None = Field(
        default=None, description="host:port of /metrics, in clear text; none: nobody is told"
    )
    objects_url: str = Field(description="file:///… or s3://bucket/prefix")
    lease_seconds: PositiveFloat = Field(default=15.0, description="at least ten heartbeats")
    unheld_seconds: PositiveFloat = Field(
        default=15.0,
        description="when a claim that no heartbeat names is taken back; longer than a call's time",
    )
    energy_wait_seconds: NonNegativeFloat = Field(
        default=2.0, description="how long a finished image waits for its last segment"
    )
    picture_bytes_max: PositiveInt = 64 * 1024 * 1024
    picture_pixels_max: PositiveInt = 4096 * 4096

    @model_validator(mode="after")
    def _addresses_have_a_certificate(self) -> Self:
        check_identity(self.identity_directory, listen_address=self.listen_address)
        return self
