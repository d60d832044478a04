"""From a token's text to whom it is of: read, judged, signature checked, remembered.

In the order of what it costs us: form, terms of the issuer, the issuer's keys, one signature. A
token whose signature has held is remembered, so that a caller's next call costs a hash; tokens that
were never seen share a bounded number of signature checks, so that a flood of forged ones costs no
more than a flood of forged keys.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from services.gateway import errors
from services.gateway.identity.errors import TokenRefusedError
from services.gateway.identity.issuer_keys import IssuerKeys
from services.gateway.identity.issuers import Issuer
from services.gateway.identity.signing_keys import SigningKey
from services.gateway.identity.token_reading import UnverifiedToken, read_token
from services.gateway.identity.token_rules import TokenContent, judge
from services.gateway.rate_limits import RateLimits

_REMEMBERED_MAX: Final = 4_096
_STRANGERS: Final = "strangers"
_LOG_LINES_PER_MINUTE_MAX: Final = 60
_REFUSALS: Final = "refusals"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An issuer and its keys."""

    issuer: Issuer
    keys: IssuerKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token whose signature holds."""

    issuer: str
    content: TokenContent
    signing_key_id: str
    key: SigningKey


class TokenVerifier:
    """Checks tokens of the issuers that the installation trusts. Of one event loop."""

    def __init__(
        self,
        trusted: Mapping[str, TrustedIssuer],
        *,
        strangers_per_minute_max: int,
        now_seconds: Callable[[], float],
    ) -> None:
        self._trusted = trusted
        self._strangers_per_minute_max = strangers_per_minute_max
        self._now_seconds = now_seconds
        self._known: OrderedDict[bytes, VerifiedToken] = OrderedDict()
        self._rates = RateLimits(names_max=2)

    async def verify(self, text: str) -> VerifiedToken:
        """Return whom a token is of.

        Raises:
            TokenRefusedError: it opens nothing.
            CallRefusedError: BACKEND_DOWN while the issuer's keys are not to be had, RATE_LIMITED
                while too many tokens that were never seen come.
        """
        name = hashlib.sha256(text.encode()).digest()
        try:
            verified = self._known.get(name) or await self._meet(text)
            verified.content.times.check(self._now_seconds())
            await self._check_key(verified)
        except TokenRefusedError as error:
            self._known.pop(name, None)
            self._tell(error)
            raise
        self._remember(name, verified)
        return verified

    @property
    def remembered_count(self) -> int:
        """How many tokens are held in memory."""
        return len(self._known)

    async def _meet(self, text: str) -> VerifiedToken:
        token = read_token(text)
        trusted = self._trusted.get(token.issuer)
        if trusted is None:
            raise TokenRefusedError("issuer")
        content = judge(token, trusted.issuer, now_seconds=self._now_seconds())
        key = await self._key(trusted, token.signing_key_id, token.algorithm)
        self._check_signature(token, trusted.issuer, key)
        return VerifiedToken(
            issuer=token.issuer, content=content, signing_key_id=token.signing_key_id, key=key
        )

    def _check_signature(self, token: UnverifiedToken, issuer: Issuer, key: SigningKey) -> None:
        wait_seconds = self._rates.wait_seconds(
            _STRANGERS, per_minute_max=self._strangers_per_minute_max
        )
        if wait_seconds:
            raise errors.rate_limited(subject="gateway", description="too many unknown tokens")
        key.check(token, issuer)

    async def _check_key(self, verified: VerifiedToken) -> None:
        """Refuse a token whose key the issuer has taken back since."""
        trusted = self._trusted[verified.issuer]
        if (
            await self._key(trusted, verified.signing_key_id, verified.key.algorithm)
            != verified.key
        ):
            raise TokenRefusedError("key")

    async def _key(self, trusted: TrustedIssuer, key_id: str, algorithm: str) -> SigningKey:
        key = await trusted.keys.find(key_id, algorithm)
        if key is None:
            raise TokenRefusedError("key")
        return key

    def _remember(self, name: bytes, verified: VerifiedToken) -> None:
        self._known[name] = verified
        self._known.move_to_end(name)
        if len(self._known) > _REMEMBERED_MAX:
            self._known.popitem(last=False)

    def _tell(self, error: TokenRefusedError) -> None:
        """Let the operator see why, a few times a minute; nothing of the token, which is forged."""
        if not self._rates.wait_seconds(_REFUSALS, per_minute_max=_LOG_LINES_PER_MINUTE_MAX):
            _log.info("token_refused", because=error.reason)
