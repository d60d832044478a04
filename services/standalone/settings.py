"""What an installation on one machine is told, from ATELIER_STANDALONE_… and the command line."""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY: Final = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Frozen; every value has a default, so that `make up` needs nothing."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_STANDALONE_", frozen=True)

    data_directory: Path = REPOSITORY / ".atelier"
    port: NonNegativeInt = Field(default=7431, description="of the gateway; 0: any free one")
    console: bool = Field(default=True, description="serve the web page as well")
    console_port: NonNegativeInt = Field(
        default=7433, description="of the console; 0, or any free port for the gateway: any"
    )
    # A server of the operator's own instead of the embedded one; its administrator's URL.
    database_url: SecretStr | None = Field(default=None, validation_alias="ATELIER_DATABASE_URL")
    model_catalogue_path: Path = REPOSITORY / "deploy" / "models.toml"
    energy_factors_path: Path = REPOSITORY / "deploy" / "energy_factors.toml"
    # Who sells, on invoices; absent: what the gateway says by itself.
    seller_legal_name: str | None = None
    seller_postal_address: str | None = Field(
        default=None, description="lines separated by newlines"
    )
    seller_vat_id: str | None = None
    cpu_device_count: PositiveInt = Field(default=8, description="workers that may share this CPU")
    use_gpus: bool = Field(
        default=False,
        description="draw on this machine's NVIDIA cards; needs a PyTorch built for CUDA",
    )
    threads_per_worker: PositiveInt | None = None
    launcher: Literal["process", "sandbox", "container"] = Field(
        default="process",
        description="what keeps tenants' workers apart; more about it in ATELIER_FLEET_…",
    )
    # A tenant with work keeps its device at least this long while others wait.
    dwell_seconds_min: PositiveFloat | None = None
    dwell_per_cold_start: PositiveFloat | None = None
    # What is being drawn at Ctrl-C gets this long; the rest is drawn after the next start.
    drain_seconds: PositiveFloat = 10.0
    # From the first process to an answer of the gateway.
    start_seconds: PositiveFloat = 60.0
