"""Which issuers of tokens this installation trusts, and on what terms: a TOML file.

It is a file and no call: where keys are fetched from and whose word is believed is decided where
the gateway is set up, so that an operator's key in wrong hands cannot add an issuer.
"""

import ssl
import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.gateway.identity.errors import IssuersError
from services.transport.errors import FetchError
from services.transport.guarded_fetch import check_url
from tenants.identity_bindings import SUBJECT_CLAIM

# Asymmetric ones only: with HS256 whoever can check a token can make one.
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
_TYPE_OF_ACCESS_TOKENS: Final = "at+jwt"
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR


def _https(url: str) -> str:
    try:
        check_url(url)
    except FetchError as error:
        raise ValueError(str(error)) from error
    return url


_Url = Annotated[str, Field(max_length=300), AfterValidator(_https)]
_Name = Annotated[str, Field(min_length=1, max_length=100)]


class Issuer(BaseModel):
    """One issuer and the terms on which its tokens are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # `iss` must be this to the letter.
    url: _Url
    # One of them must be in `aud`: tokens that the issuer made for others open nothing.
    audiences: frozenset[_Name] = Field(min_length=1)
    # None: found by discovery, below `url`.
    jwks_url: _Url | None = None
    algorithms: frozenset[Algorithm] = Field(min_length=1)
    # What `typ` may be, in lower case. Access tokens of RFC 9068 say `at+jwt`; many issuers `JWT`.
    token_types: frozenset[_Name] = frozenset({_TYPE_OF_ACCESS_TOKENS})
    # Claims besides `sub` that may be bound, such as `groups`.
    binding_claims: frozenset[_Name] = frozenset()
    # From `iat` to `exp`; a token that lives longer is not taken.
    lifetime_seconds_max: float = Field(default=_HOUR, gt=0, le=_DAY)
    # How far the issuer's clock may be from ours.
    leeway_seconds: float = Field(default=30.0, ge=0, le=120)
    # A key that the issuer has taken back opens for so long at most.
    refresh_seconds: float = Field(default=300.0, ge=1, le=_DAY)
    # While the issuer does not answer its keys are used for so long after they were last read.
    keys_kept_seconds: float = Field(default=6 * _HOUR, gt=0, le=7 * _DAY)
    # An issuer within the own walls: addresses that may be called although they are not public.
    private_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    # PEM of the authority that signed the issuer's certificate; None: those of the system.
    ca_path: Path | None = None

    @model_validator(mode="after")
    def _keys_outlive_a_refresh(self) -> Self:
        if self.keys_kept_seconds < self.refresh_seconds:
            raise ValueError("keys_kept_seconds must not be shorter than refresh_seconds")
        if SUBJECT_CLAIM in self.binding_claims:
            raise ValueError(f"{SUBJECT_CLAIM} may always be bound")
        return self

    def admits_type(self, token_type: str) -> bool:
        """Tell whether a token's `typ` is one that is taken; `application/` may be left out."""
        return token_type.lower().removeprefix("application/") in {
            admitted.lower() for admitted in self.token_types
        }

    def tls(self) -> ssl.SSLContext:
        """Make the context that checks the issuer's certificate.

        Raises:
            IssuersError: ca_path is no authority that can be read.
        """
        try:
            return ssl.create_default_context(cafile=self.ca_path)
        except OSError as error:
            raise IssuersError(f"{self.url}: ca_path {self.ca_path}: {error}") from error


class _IssuersFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: tuple[Issuer, ...] = ()


def read_issuers(path: Path) -> tuple[Issuer, ...]:
    """Read the file that says whom we trust.

    Raises:
        IssuersError: it cannot be read, or says something that must not be so.
    """
    try:
        issuers = _IssuersFile.model_validate(tomllib.loads(path.read_text())).issuer
    except (OSError, ValueError) as error:
        # pydantic's and tomllib's own errors are ValueErrors.
        raise IssuersError(f"{path}: {error}") from error
    if len({issuer.url for issuer in issuers}) < len(issuers):
        raise IssuersError(f"{path}: an issuer stands there twice")
    for issuer in issuers:
        issuer.tls()
    return issuers
