"""What a token must say before its signature is worth checking, and what follows from it; pure."""

import math
from dataclasses import dataclass
from typing import Final, cast

from services.gateway.identity.errors import TokenRefusedError
from services.gateway.identity.issuers import Issuer
from services.gateway.identity.strict_json import JsonObject
from services.gateway.identity.token_reading import UnverifiedToken
from tenants.identity_bindings import SUBJECT_CLAIM, IdentityClaim

# As OpenID Connect bounds it; what is longer is also longer than a binding's value.
_TEXT_LENGTH_MAX: Final = 255
# People are in many groups. What a token says beyond it is refused, never cut off in silence.
_BINDING_VALUES_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTimes:
    """From when until when a token is good, the leeway included; seconds since 1970."""

    start_seconds: float
    end_seconds: float

    def check(self, now_seconds: float) -> None:
        """Let a token pass whose time it is.

        Raises:
            TokenRefusedError: not yet, or no longer.
        """
        if now_seconds < self.start_seconds:
            raise TokenRefusedError("not_yet_valid")
        if now_seconds >= self.end_seconds:
            raise TokenRefusedError("expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenContent:
    """What a token says that matters, in a form that can be trusted once its signature holds."""

    subject: str
    times: TokenTimes
    # What may be bound: the subject first.
    claims: tuple[IdentityClaim, ...]


def judge(token: UnverifiedToken, issuer: Issuer, *, now_seconds: float) -> TokenContent:
    """Hold a token against the terms of its issuer.

    Raises:
        TokenRefusedError: it breaks one of them.
    """
    if token.algorithm not in issuer.algorithms:
        raise TokenRefusedError("algorithm")
    if not issuer.admits_type(token.token_type):
        raise TokenRefusedError("type")
    if not issuer.audiences & _audiences(token.claims):
        raise TokenRefusedError("audience")
    times = _times(token.claims, issuer)
    times.check(now_seconds)
    subject = _subject(token.claims)
    return TokenContent(subject=subject, times=times, claims=_identity(token, issuer, subject))


def _audiences(claims: JsonObject) -> frozenset[str]:
    value = claims.get("aud")
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise TokenRefusedError("audience")
    return frozenset(cast("list[str]", values))


def _times(claims: JsonObject, issuer: Issuer) -> TokenTimes:
    issued, expires = _number(claims, "iat"), _number(claims, "exp")
    not_before = _number(claims, "nbf") if "nbf" in claims else issued
    if not 0 < expires - issued <= issuer.lifetime_seconds_max:
        raise TokenRefusedError("lifetime")
    return TokenTimes(
        start_seconds=max(issued, not_before) - issuer.leeway_seconds,
        end_seconds=expires + issuer.leeway_seconds,
    )


def _number(claims: JsonObject, name: str) -> float:
    value = claims.get(name)
    # True is a number to Python, and 10**400 is one that no clock has.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefusedError("times")
    try:
        seconds = float(value)
    except OverflowError:
        raise TokenRefusedError("times") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise TokenRefusedError("times")
    return seconds


def _subject(claims: JsonObject) -> str:
    value = claims.get(SUBJECT_CLAIM)
    if not isinstance(value, str) or not _is_storable(value):
        raise TokenRefusedError("subject")
    return value


def _identity(token: UnverifiedToken, issuer: Issuer, subject: str) -> tuple[IdentityClaim, ...]:
    said = [(SUBJECT_CLAIM, subject)]
    for name in sorted(issuer.binding_claims):
        said.extend((name, value) for value in _values(token.claims.get(name)))
    if len(said) > _BINDING_VALUES_MAX:
        raise TokenRefusedError("too_many_values")
    return tuple(
        IdentityClaim(issuer=issuer.url, claim=name, claim_value=value) for name, value in said
    )


def _values(value: object) -> list[str]:
    """A claim's text, or the texts of its list; what is none binds nothing."""
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str) and _is_storable(one)]


def _is_storable(text: str) -> bool:
    # PostgreSQL stores no NUL, and no half of a surrogate pair, which JSON can spell.
    return 0 < len(text) <= _TEXT_LENGTH_MAX and text.isprintable()
