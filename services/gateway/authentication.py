"""From a call's metadata and certificate to its caller: key, token or certificate.

Noise is refused by its checksum without asking anybody. What was looked up is believed for less
than a second, so that a revocation takes effect within a second on every replica.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from services.gateway import errors
from services.gateway.callers import Caller
from services.gateway.client_certificates import CertificateIdentity
from services.gateway.identity.token_reading import looks_like_a_token
from services.gateway.key_lookups import KeyFacts, KeyLookups, TenantDirectory
from tenants.api_keys import PresentedKey, Role, matches, opens, parse_key
from tenants.tenant_store import TenantState

_SCHEME: Final = "bearer "
# Longer than any key; what is longer is not looked at.
_KEY_LENGTH_MAX: Final = 256
# Compared when there is no such key, so that a missing key and a wrong secret take the same time.
_NO_SECRET: Final = bytes(32)


class TokenDoor(Protocol):
    """Where tokens of identity providers are taken."""

    async def caller_of(self, token: str) -> Caller | None:
        """Return who comes with a token; None when it opens nothing, for whatever reason."""
        ...


class Authenticator:
    """Turns the ``authorization`` metadata, or what a client certificate says, into a caller."""

    def __init__(
        self,
        lookups: KeyLookups,
        *,
        pepper: bytes,
        tenants: TenantDirectory,
        tokens: TokenDoor | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._lookups = lookups
        self._pepper = pepper
        self._tenants = tenants
        # None: no issuer is trusted.
        self._tokens = tokens
        self._now = now

    async def authenticate(
        self, authorization: str | None, certificate: CertificateIdentity | None = None
    ) -> Caller:
        """Return the caller, or say why not.

        A key or token goes before the certificate, and opens only beside one of its own tenant.

        Raises:
            CallRefusedError: KEY_INVALID, KEY_EXPIRED or KEY_REVOKED; RATE_LIMITED while too many
                keys or tokens that were never seen come; BACKEND_DOWN when a token cannot be
                checked.
        """
        if authorization is None and certificate is not None:
            return await self._caller_of_certificate(certificate)
        credential = _presented(authorization)
        if credential is not None and looks_like_a_token(credential):
            caller = await self._caller_of_token(credential)
        else:
            caller = await self._caller_of_key(credential)
        if certificate is not None and certificate.tenant_id != caller.tenant_id:
            # As a wrong key: it is not told that this one would open elsewhere.
            raise errors.key_invalid()
        return caller

    async def _caller_of_certificate(self, certificate: CertificateIdentity) -> Caller:
        # Asked anew for every call: who comes here has been signed by the client authority.
        tenant = await self._tenants.find_tenant(certificate.tenant_id)
        if tenant is None:
            raise errors.key_invalid()
        return Caller(
            tenant_id=certificate.tenant_id,
            key_id=certificate.key_id,
            role=certificate.role,
            project="",
            suspended=tenant.state == TenantState.SUSPENDED,
            limits=tenant.limits,
        )

    async def _caller_of_token(self, token: str) -> Caller:
        caller = await self._tokens.caller_of(token) if self._tokens else None
        if caller is None:
            # As a wrong key, whatever was wrong with it: a forger learns nothing to go on with.
            raise errors.key_invalid()
        return caller

    async def _caller_of_key(self, credential: str | None) -> Caller:
        presented = _presented_key(credential)
        if presented is None:
            raise errors.key_invalid()
        facts = await self._facts_that_open(presented)
        self._refuse_unless_valid(facts)
        return Caller(
            tenant_id=facts.key.tenant_id,
            key_id=facts.key.key_id,
            role=Role(facts.key.role),
            project=facts.key.project,
            suspended=facts.tenant_state == TenantState.SUSPENDED,
            allowed_networks=facts.key.allowed_networks,
            limits=facts.limits,
        )

    async def _facts_that_open(self, presented: PresentedKey) -> KeyFacts:
        facts = await self._lookups.find(presented.key_id)
        if facts is None:
            matches(presented, secret_hmac=_NO_SECRET, pepper=self._pepper)
            raise errors.key_invalid()
        if not self._opens(presented, facts):
            # The key may have got this secret since it was looked up.
            facts = await self._lookups.refresh(presented.key_id)
        if facts is None or not self._opens(presented, facts):
            raise errors.key_invalid()
        return facts

    def _opens(self, presented: PresentedKey, facts: KeyFacts) -> bool:
        return opens(presented, facts.key, pepper=self._pepper, now=self._now())

    def _refuse_unless_valid(self, facts: KeyFacts) -> None:
        if facts.key.revoke_time is not None:
            raise errors.key_revoked(facts.key.key_id)
        if facts.key.expire_time is not None and facts.key.expire_time <= self._now():
            raise errors.key_expired(facts.key.key_id)


def _presented(authorization: str | None) -> str | None:
    if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return authorization[len(_SCHEME) :].strip()


def _presented_key(credential: str | None) -> PresentedKey | None:
    if credential is None or len(credential) > _KEY_LENGTH_MAX:
        return None
    return parse_key(credential)
