"""An issuer with a key of each kind, and tokens that it signs or that somebody forges."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from services.gateway.identity.issuers import Issuer
from services.gateway.identity.signing_keys import SigningKeys, read_signing_keys

NOW: Final = 1_800_000_000
URL: Final = "https://id.example"
ISSUER: Final = Issuer.model_validate(
    {
        "url": URL,
        "audiences": ["atelier"],
        "algorithms": ["RS256", "ES256", "EdDSA"],
        "binding_claims": ["groups"],
    }
)
ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")


@cache
def private_key(algorithm: str) -> Any:
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(algorithm: str, **changes: Any) -> dict[str, Any]:
    form = get_default_algorithms()[algorithm]
    jwk = form.to_jwk(private_key(algorithm).public_key(), as_dict=True)
    return jwk | {"kid": f"key-{algorithm}", "use": "sig"} | changes


def key_set(*jwks: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": jwks}).encode()


@cache
def issuers_keys() -> SigningKeys:
    return read_signing_keys(key_set(*map(public_jwk, ALGORITHMS)), ISSUER.algorithms)


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says; None leaves a claim out."""
    said = {
        "iss": URL,
        "aud": "atelier",
        "sub": "somebody",
        "iat": NOW - 10,
        "exp": NOW + 300,
    } | changes
    return {name: value for name, value in said.items() if value is not None}


def signed(
    algorithm: str = "ES256", *, headers: Mapping[str, Any] | None = None, **changes: Any
) -> str:
    head = {"kid": f"key-{algorithm}", "typ": "at+jwt"} | dict(headers or {})
    return jwt.encode(claims(**changes), private_key(algorithm), algorithm, headers=head)


def forged(header: Any, content: Any, signature: bytes = b"forged") -> str:
    """Write a token by hand; parts that are text are taken as they are."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, content)]
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        for part in (*(part.encode() for part in parts), signature)
    )
