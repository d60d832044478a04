"""What the console must be told, from ATELIER_CONSOLE_…."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Frozen; every missing value is reported at once. There is no secret among them."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_CONSOLE_", frozen=True)

    gateway_address: str = Field(description="as the SDK's: host:port, https://… or http://…")
    gateway_root_certificates_path: Path | None = Field(
        default=None, description="PEM; where the gateway's certificate is not a public one's"
    )
    listen_address: str = Field(default="127.0.0.1:7433", description="host:port")
    tls_certificate_path: Path | None = Field(default=None, description="PEM chain")
    tls_key_path: Path | None = Field(default=None, description="PEM private key")

    session_idle_seconds: PositiveFloat = 30 * 60.0
    session_seconds_max: PositiveFloat = 12 * 3600.0
    sessions_max: PositiveInt = 10_000
    # Somebody who mistypes needs a few; whoever tries keys gets no further.
    log_ins_per_minute_max: PositiveInt = 10
    # No form is longer than 1,000 prompts of 1,000 characters.
    form_bytes_max: PositiveInt = 2 * 1024 * 1024
    thumbnail_memory_bytes_max: PositiveInt = 64 * 1024 * 1024
    live_pages_per_session_max: PositiveInt = 20
    # How often overviews look for new jobs; one look serves all pages of a key.
    overview_seconds: PositiveFloat = 2.0

    @model_validator(mode="after")
    def _strangers_are_spoken_to_through_tls(self) -> Self:
        if (self.tls_certificate_path is None) != (self.tls_key_path is None):
            raise ValueError("tls_certificate_path and tls_key_path belong together")
        if not self.tls and not _is_loopback(self.listen_address):
            raise ValueError(
                f"{self.listen_address} is not loopback: set tls_certificate_path and tls_key_path"
            )
        return self

    @property
    def tls(self) -> bool:
        return self.tls_certificate_path is not None

    @property
    def host_and_port(self) -> tuple[str, int]:
        host, _, port = self.listen_address.rpartition(":")
        return host.strip("[]"), int(port)

    def root_certificates(self) -> bytes | None:
        """Read the authority that the gateway's certificate comes from, where one is named."""
        path = self.gateway_root_certificates_path
        return None if path is None else path.read_bytes()


def load_settings() -> Settings:
    """Read them from the environment, or from files of their names."""
    directory = os.environ.get("ATELIER_SECRETS_DIRECTORY")
    return Settings(_secrets_dir=directory)  # pyright: ignore[reportCallIssue]


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
