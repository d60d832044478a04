"""What the housekeeper is told at its start, from ATELIER_HOUSEKEEPER_…."""

from pathlib import Path
from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.metrics.listener import ListenAddress
from services.transport.broker_places import BrokerPlaces, check_broker_template
from services.transport.tls_files import check_identity
from tenants.run_directory import RunDirectory


class Settings(BaseSettings):
    """Frozen; every missing value is reported at once."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_HOUSEKEEPER_", frozen=True)

    database_url: SecretStr = Field(description="of the role atelier_housekeeper")
    run_directory: Path
    broker_address_template: str | None = Field(
        default=None, description="host:port with {tenant_id} in it; none: each tenant's socket"
    )
    identity_directory: Path | None = Field(
        default=None, description="with tls.crt, tls.key, ca.crt; needed for addresses"
    )
    objects_url: str = Field(description="file:///… or s3://bucket/prefix; the recorder's")
    metrics_listen_address: ListenAddress | None = Field(
        default=None, description="host:port of /metrics, in clear text; none: nobody is told"
    )
    sweep_seconds: PositiveFloat = 2.0
    invariant_seconds: PositiveFloat = 60.0
    # How long a transfer may wait for its block in the chain.
    seal_seconds: PositiveFloat = 10.0
    # How often credit whose time is over is looked for.
    expiry_seconds: PositiveFloat = 60.0
    sealing_seconds: PositiveFloat = 10.0
    # Usage younger than this is summed record by record.
    roll_up_seconds: PositiveFloat = 10.0
    # How often the operator is told which months can be finalized.
    draft_seconds: PositiveFloat = 3600.0
    # How often a tenant that leaves is looked after.
    deletion_seconds: PositiveFloat = 5.0
    # Nothing of it is deleted sooner: calls that had passed the door before end by then.
    deletion_grace_seconds: NonNegativeFloat = 60.0
    deletion_waits_for_fleet: bool = Field(
        default=True, description="no: what ends tenants' workers and brokers is not the fleet"
    )
    # An interactive picture that nobody listens to for so long is cancelled.
    unattended_seconds: PositiveFloat = 10.0
    # The recorder's; a worker's session is lost when its lease is over.
    lease_seconds: PositiveFloat = 15.0

    @model_validator(mode="after")
    def _brokers_can_be_reached(self) -> Self:
        check_broker_template(self.broker_address_template)
        check_identity(
            self.identity_directory, broker_address_template=self.broker_address_template
        )
        return self

    @property
    def brokers(self) -> BrokerPlaces:
        """Where missing tokens go."""
        return BrokerPlaces(
            run=RunDirectory(self.run_directory),
            address_template=self.broker_address_template,
            identity_directory=self.identity_directory,
        )
