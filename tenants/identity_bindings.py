"""What an identity provider says of somebody, and the tenant it opens; pure, no database.

A token opens nothing by itself: an operator binds one claim of one issuer to one tenant and role.
A tenant is never named by the token.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NewType

from tenants.api_keys import Network, Role
from tenants.ids import BindingId, KeyId, TenantId

# The claim that names one person or program of an issuer.
SUBJECT_CLAIM: Final = "sub"
# One claim with its value, hashed; the hash tells a look-up what to show and nothing else.
IdentityKey = NewType("IdentityKey", str)

_PERSON_PREFIX: Final = "identity"
# With the prefix 40 characters, the most that a key's name admits; keys' own ids have 12, so
# neither is ever taken for the other.
_PERSON_LENGTH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityClaim:
    """One thing that an issuer says of a token's holder."""

    issuer: str
    claim: str
    claim_value: str

    @property
    def key(self) -> IdentityKey:
        """The hash by which a binding of this claim is found."""
        return IdentityKey(_sha256([self.issuer, self.claim, self.claim_value]))


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityBinding:
    """A claim and what it opens; never the operator's role."""

    tenant_id: TenantId
    binding_id: BindingId
    issuer: str
    claim: str
    claim_value: str
    role: Role
    project: str
    display_name: str
    # Empty: its tokens may be used from anywhere.
    allowed_networks: list[Network] = field(default_factory=list[Network])
    create_time: datetime


def decisive_binding(bindings: Sequence[IdentityBinding]) -> IdentityBinding | None:
    """Choose among the bindings that a token fits; None when it fits none, or several tenants.

    The one of its subject goes before those of its other claims, so that an operator can give one
    person of a group less than the group; then the higher role, then the older.
    """
    if len({binding.tenant_id for binding in bindings}) != 1:
        return None
    return min(bindings, key=_rank)


def person_id(*, issuer: str, subject: str) -> KeyId:
    """Name one person or program where a key's id would stand, whichever binding lets it in."""
    return KeyId(_PERSON_PREFIX + _sha256([issuer, subject])[:_PERSON_LENGTH])


def distinct_keys(claims: Iterable[IdentityClaim]) -> tuple[IdentityKey, ...]:
    """Return the hashes of claims, each once, in an order that does not depend on theirs."""
    return tuple(sorted({claim.key for claim in claims}))


def _rank(binding: IdentityBinding) -> tuple[bool, bool, datetime, BindingId]:
    return (
        binding.claim != SUBJECT_CLAIM,
        binding.role is not Role.ADMIN,
        binding.create_time,
        binding.binding_id,
    )


def _sha256(parts: list[str]) -> str:
    # JSON keeps the parts apart, whatever stands in them.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
