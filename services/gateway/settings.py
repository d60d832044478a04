"""What the gateway must be told, from ATELIER_GATEWAY_… or files of those names."""

from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from database.secrets_directory import secrets_directory
from services.metrics.listener import ListenAddress
from services.transport.broker_places import BrokerPlaces, check_broker_template
from services.transport.callees import Callee, callee_of
from services.transport.tls_files import TlsFiles, check_identity
from tenants.run_directory import RunDirectory


class KeySettings(BaseSettings):
    """What making the first operator's key needs."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_GATEWAY_", frozen=True)

    operator_database_url: SecretStr = Field(description="as atelier_operator")
    key_pepper: SecretStr = Field(min_length=32, description="HMAC key of the API keys' secrets")


class Settings(KeySettings):
    """What serving needs; every missing value is reported at once."""

    listen_address: str = Field(default="127.0.0.1:7431", description="host:port; port 0: any")
    tls_certificate_path: Path | None = Field(default=None, description="PEM chain")
    tls_key_path: Path | None = Field(default=None, description="PEM private key")
    tls_client_ca_path: Path | None = Field(
        default=None, description="PEM; every client must show a certificate signed by it"
    )
    certificates_name_tenants: bool = Field(
        default=False,
        description="a client certificate's URI atelier://tenants/…/roles/… says who calls",
    )
    clear_text_for_development: bool = Field(
        default=False, description="listen beyond loopback without TLS: keys can be overheard"
    )

    issuers_path: Path | None = Field(
        default=None,
        description="TOML: whose signed tokens (OpenID Connect) open, beside keys; none: nobody's",
    )
    metrics_listen_address: ListenAddress | None = Field(
        default=None, description="host:port of /metrics, in clear text; none: nobody is told"
    )

    trusted_proxies: list[IPv4Network | IPv6Network] = Field(
        default=[],
        description="networks whose x-forwarded-for is believed; none: the peer is the caller",
    )

    database_url: SecretStr = Field(description="as atelier_gateway")
    database_connections_max: int = Field(default=12, ge=2)
    operator_database_connections_max: int = Field(default=3, ge=1)

    run_directory: Path = Field(description="where the sockets of brokers and recorder lie")
    recorder_address: str | None = Field(default=None, description="host:port, of another host")
    broker_address_template: str | None = Field(
        default=None, description="host:port with {tenant_id} in it; none: each tenant's socket"
    )
    identity_directory: Path | None = Field(
        default=None, description="with tls.crt, tls.key, ca.crt; needed for addresses"
    )
    objects_url: str = Field(description="file:///… or s3://bucket/prefix")
    model_catalogue_path: Path = Field(default=Path("deploy/models.toml"))
    seller_legal_name: str = Field(
        default="The operator of this installation", description="on invoices, as the next two"
    )
    seller_postal_address: str = Field(default="", description="lines separated by newlines")
    seller_vat_id: str = ""
    # So long after a period's end its invoice stays a draft: facts may come late.
    invoice_grace_seconds: float = Field(default=24 * 3600.0, ge=0)
    energy_factors_path: Path | None = Field(
        default=None,
        description="PUE and carbon by version; none: left out of reports",
    )

    page_token_secret: SecretStr = Field(min_length=32, description="HMAC key of page tokens")

    calls_in_flight_max: int = Field(default=256, ge=1)
    calls_in_flight_per_tenant_max: int = Field(default=64, ge=1)
    # Of a tenant for which the operator has set nothing else; a sixth of it may come at once.
    calls_per_minute_per_tenant_max: int = Field(default=12_000, ge=1)
    streams_max: int = Field(default=1024, ge=1)
    streams_per_tenant_max: int = Field(default=128, ge=1)
    streams_per_connection_max: int = Field(default=200, ge=1)
    # 1,000 specs with the longest prompts the contract admits stay below it.
    request_bytes_max: int = Field(default=32 * 1024 * 1024, ge=64 * 1024)
    unary_deadline_seconds: float = Field(default=30.0, gt=0)
    keep_alive_seconds: float = Field(default=10.0, gt=0, le=15.0)
    # How often a listener of GenerateImage is noted; the housekeeper cancels after ten seconds
    # without a note.
    attendance_seconds: float = Field(default=2.0, gt=0, le=3.0)
    # Revocation must be seen within a second on every replica, also when the word of it is lost.
    key_cache_seconds: float = Field(default=0.5, ge=0, lt=1.0)
    # Look-ups of keys that this replica has not met: a flood of forged ones costs no more.
    unknown_key_lookups_per_minute_max: int = Field(default=6_000, ge=60)
    # A caller whose key does not open waits so long for the refusal, so that a flood slows down by
    # itself: a connection has so many calls in flight and no more.
    stranger_hold_seconds: float = Field(default=0.5, ge=0, le=10)
    # How long the old secret of a rotated key works when the request does not say; 30 days at most.
    key_rotation_grace_seconds: float = Field(default=24 * 3600.0, ge=0, le=30 * 24 * 3600.0)
    # Calls that were refused, or that changed nothing, are written down so often for each key.
    audited_refusals_per_minute_max: int = Field(default=60, ge=1)
    drain_seconds: float = Field(default=20.0, ge=0)

    @model_validator(mode="after")
    def _strangers_are_spoken_to_through_tls(self) -> Self:
        if (self.tls_certificate_path is None) != (self.tls_key_path is None):
            raise ValueError("tls_certificate_path and tls_key_path belong together")
        if self.tls_client_ca_path is not None and self.tls_certificate_path is None:
            raise ValueError("tls_client_ca_path needs tls_certificate_path and tls_key_path")
        if self.certificates_name_tenants and self.tls_client_ca_path is None:
            raise ValueError("certificates_name_tenants needs tls_client_ca_path")
        is_safe = self.tls_certificate_path is not None or _is_loopback(self.listen_address)
        if not is_safe and not self.clear_text_for_development:
            raise ValueError(
                f"{self.listen_address} is not loopback: set tls_certificate_path and tls_key_path"
            )
        return self

    @model_validator(mode="after")
    def _others_can_be_reached(self) -> Self:
        check_broker_template(self.broker_address_template)
        check_identity(
            self.identity_directory,
            recorder_address=self.recorder_address,
            broker_address_template=self.broker_address_template,
        )
        return self

    @property
    def recorder(self) -> Callee:
        """Who has the pictures that are not yet in the store."""
        socket = RunDirectory(self.run_directory).recorder_gateway_socket
        return callee_of(self.recorder_address, self.identity_directory, socket=socket)

    @property
    def brokers(self) -> BrokerPlaces:
        """Where tokens go."""
        return BrokerPlaces(
            run=RunDirectory(self.run_directory),
            address_template=self.broker_address_template,
            identity_directory=self.identity_directory,
        )

    @property
    def tls_files(self) -> TlsFiles | None:
        """What the listener needs for TLS; None: clear text."""
        if self.tls_certificate_path is None or self.tls_key_path is None:
            return None
        return TlsFiles(
            certificate_path=self.tls_certificate_path,
            key_path=self.tls_key_path,
            client_ca_path=self.tls_client_ca_path,
        )


def load_settings() -> Settings:
    """Read what serving needs; secrets may lie as files in ATELIER_SECRETS_DIRECTORY."""
    return Settings(_secrets_dir=secrets_directory())  # pyright: ignore[reportCallIssue]


def load_key_settings() -> KeySettings:
    """Read what making a key needs."""
    return KeySettings(_secrets_dir=secrets_directory())  # pyright: ignore[reportCallIssue]


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
