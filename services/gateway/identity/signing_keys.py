"""An issuer's keys, as its JWKS document tells them, and what they prove; pure.

Of a set those keys are taken that can only check: public, asymmetric, long enough, meant for
signatures. The others are left out, so that one odd key does not cost the issuer its others.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.types import Options

from services.gateway.identity.errors import KeySetError, TokenRefusedError
from services.gateway.identity.issuers import Issuer
from services.gateway.identity.strict_json import JsonObject, read_object
from services.gateway.identity.token_reading import UnverifiedToken

_KEYS_MAX: Final = 100
_RSA_BITS_MIN: Final = 2048
# Beyond it a single check costs what a flood would.
_RSA_BITS_MAX: Final = 8192
# What each kind of key is good for, by its type and curve.
_ALGORITHMS: Final[Mapping[tuple[object, object], frozenset[str]]] = {
    ("RSA", None): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}


_NO_TIMES: Final[Options] = {
    "require": ["exp", "iat", "sub"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_jti": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key under one algorithm; equal when both are."""

    fingerprint: str
    algorithm: str
    jwk: jwt.PyJWK = field(compare=False, repr=False)

    def check(self, token: UnverifiedToken, issuer: Issuer) -> None:
        """Let a token pass that this key has signed.

        Raises:
            TokenRefusedError: it has not.
        """
        try:
            # The claims have been judged already, on the very bytes that are signed; times by our
            # clock. For whom and from whom it is the library looks at once more.
            jwt.decode(
                token.text,
                self.jwk,
                algorithms=[self.algorithm],
                audience=issuer.audiences,
                issuer=issuer.url,
                options=_NO_TIMES,
            )
        except jwt.InvalidTokenError:
            raise TokenRefusedError("signature") from None


SigningKeys = Mapping[tuple[str, str], SigningKey]


def read_signing_keys(document: bytes, algorithms: Iterable[str]) -> SigningKeys:
    """Read the keys of a JWKS document, by key id and algorithm.

    Raises:
        KeySetError: it is no set of keys, or none of them can be used.
    """
    try:
        listed = read_object(document).get("keys")
    except ValueError as error:
        raise KeySetError(f"is no JSON object: {error}") from error
    if not isinstance(listed, list):
        raise KeySetError("has no keys")
    jwks = cast("list[object]", listed)
    if len(jwks) > _KEYS_MAX:
        raise KeySetError(f"has more than {_KEYS_MAX} keys")
    found: dict[tuple[str, str], SigningKey] = {}
    twice: set[tuple[str, str]] = set()
    for jwk in jwks:
        for name, key in _usable(jwk, frozenset(algorithms)):
            if name in found:
                twice.add(name)
            found[name] = key
    keys = {name: key for name, key in found.items() if name not in twice}
    if not keys:
        raise KeySetError("has no key that can be used")
    return keys


def read_jwks_url(document: bytes, issuer: Issuer) -> str:
    """Read where the keys lie from what an issuer says of itself (OpenID Connect Discovery).

    Raises:
        KeySetError: it speaks of another issuer, or names no place.
    """
    try:
        said = read_object(document)
    except ValueError as error:
        raise KeySetError(f"discovery is no JSON object: {error}") from error
    if said.get("issuer") != issuer.url:
        raise KeySetError("discovery speaks of another issuer")
    url = said.get("jwks_uri")
    if not isinstance(url, str):
        raise KeySetError("discovery names no jwks_uri")
    return url


def _usable(
    jwk: object, algorithms: frozenset[str]
) -> Iterator[tuple[tuple[str, str], SigningKey]]:
    if not isinstance(jwk, dict):
        return
    said = cast("JsonObject", jwk)
    key_id = said.get("kid")
    if not isinstance(key_id, str) or not key_id or not _is_for_checking(said):
        return
    for algorithm in sorted(_good_for(said) & algorithms):
        key = _signing_key(said, algorithm)
        if key is not None:
            yield (key_id, algorithm), key


def _is_for_checking(jwk: JsonObject) -> bool:
    operations = jwk.get("key_ops")
    may_check = operations is None or (isinstance(operations, list) and "verify" in operations)
    # A published private key is everybody's.
    return may_check and jwk.get("use") in {None, "sig"} and "d" not in jwk


def _good_for(jwk: JsonObject) -> frozenset[str]:
    kind, curve, own = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return frozenset()
    good = _ALGORITHMS.get((kind, curve), frozenset())
    return good if own is None else good & {own} if isinstance(own, str) else frozenset()


def _signing_key(jwk: JsonObject, algorithm: str) -> SigningKey | None:
    try:
        parsed = jwt.PyJWK(jwk, algorithm)
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        return None
    public = parsed.key
    if isinstance(public, RSAPublicKey) and not _RSA_BITS_MIN <= public.key_size <= _RSA_BITS_MAX:
        return None
    fingerprint = hashlib.sha256(json.dumps(jwk, sort_keys=True).encode()).hexdigest()
    return SigningKey(fingerprint=fingerprint, algorithm=algorithm, jwk=parsed)
