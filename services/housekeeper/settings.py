"""What the housekeeper is told at its start, from ATELIER_HOUSEKEEPER_…."""

from pathlib import Path

from pydantic import Field, PositiveFloat, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Frozen; every missing value is reported at once."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_HOUSEKEEPER_", frozen=True)

    database_url: SecretStr = Field(description="of the role atelier_housekeeper")
    run_directory: Path
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
    # An interactive picture that nobody listens to for so long is cancelled.
    unattended_seconds: PositiveFloat = 10.0
    # The recorder's; a worker's session is lost when its lease is over.
    lease_seconds: PositiveFloat = 15.0
