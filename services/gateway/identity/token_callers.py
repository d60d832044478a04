"""From a token to the caller that the rest of the gateway knows."""

from services.gateway.callers import Caller
from services.gateway.identity.binding_lookups import BindingLookups, identity_name
from services.gateway.identity.errors import TokenRefusedError
from services.gateway.identity.token_verification import TokenVerifier
from tenants.identity_bindings import person_id
from tenants.tenant_store import TenantState


class TokenCallers:
    """Turns tokens into callers."""

    def __init__(self, verifier: TokenVerifier, lookups: BindingLookups) -> None:
        self._verifier = verifier
        self._lookups = lookups

    async def caller_of(self, token: str) -> Caller | None:
        """Return who comes with a token; None when it opens nothing, for whatever reason.

        Raises:
            CallRefusedError: BACKEND_DOWN or RATE_LIMITED, which say nothing of the token.
        """
        try:
            verified = await self._verifier.verify(token)
        except TokenRefusedError:
            return None
        facts = await self._lookups.find(identity_name(verified.content.claims))
        if facts is None:
            return None
        return Caller(
            tenant_id=facts.tenant_id,
            key_id=person_id(issuer=verified.issuer, subject=verified.content.subject),
            role=facts.binding.role,
            project=facts.binding.project,
            suspended=facts.tenant_state == TenantState.SUSPENDED,
            allowed_networks=facts.binding.allowed_networks,
            limits=facts.limits,
            issuer=verified.issuer,
            subject=verified.content.subject,
        )
