"""Takes a token apart before anything in it is believed; pure, and cheap on purpose.

Anybody can send anything here as often as he likes: what has not the form of a token is gone after
some microseconds (benchmarks/tokens.py).
"""

import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Final

from services.gateway.identity.errors import TokenRefusedError
from services.gateway.identity.strict_json import JsonObject, read_object

# Above it metadata is no longer sure to arrive: grpc's own limit is 8 KiB for all of it.
TOKEN_LENGTH_MAX: Final = 6 * 1024
_HEADER_LENGTH_MAX: Final = 1024
_KEY_ID_LENGTH_MAX: Final = 256
# Three parts of base64url, each without padding; possessive, since no part holds a dot.
_FORM: Final = re.compile(r"([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)", re.ASCII)
# How every JSON object begins that base64 has encoded: `{"`.
_BEGINNING: Final = "eyJ"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedToken:
    """What a token says; not a word of it is proven."""

    text: str
    algorithm: str
    signing_key_id: str
    token_type: str
    issuer: str
    claims: JsonObject


def looks_like_a_token(text: str) -> bool:
    """Tell tokens from keys, by their beginning."""
    return text.startswith(_BEGINNING)


def read_token(text: str) -> UnverifiedToken:
    """Take a token apart.

    Raises:
        TokenRefusedError: it has not the form of one.
    """
    match = _FORM.fullmatch(text) if len(text) <= TOKEN_LENGTH_MAX else None
    if match is None or len(match[1]) > _HEADER_LENGTH_MAX:
        raise TokenRefusedError("form")
    header, claims = _object(match[1]), _object(match[2])
    if "crit" in header:
        # An extension that must be understood, and we understand none.
        raise TokenRefusedError("form")
    # `jku`, `x5u`, `jwk` and `x5c` name keys, and are not looked at: keys come from the issuer.
    signing_key_id = _text(header, "kid")
    if len(signing_key_id) > _KEY_ID_LENGTH_MAX:
        raise TokenRefusedError("form")
    return UnverifiedToken(
        text=text,
        algorithm=_text(header, "alg"),
        signing_key_id=signing_key_id,
        token_type=_text(header, "typ"),
        issuer=_text(claims, "iss"),
        claims=claims,
    )


def _object(part: str) -> JsonObject:
    try:
        return read_object(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        raise TokenRefusedError("form") from None


def _text(content: JsonObject, name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not value:
        raise TokenRefusedError("form")
    return value
