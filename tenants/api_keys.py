"""The form of an API key and how a presented one is checked; pure, no database.

A key reads ``atl_live_<key id>_<secret>_<checksum>``. The typed prefix lets secret scanners find
leaked keys; the checksum lets the gateway refuse noise without asking the database.
"""

import hmac
import secrets
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias

from tenants.ids import KeyId, TenantId

_PREFIX: Final = "atl_live"
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY_ID_LENGTH: Final = 12
# 33 characters of base 62 carry 196 bits; page 06 of the design asks for at least 190.
_SECRET_LENGTH: Final = 33
_CHECKSUM_LENGTH: Final = 6


Network: TypeAlias = IPv4Network | IPv6Network


class Role(StrEnum):
    """What a key may do; operators serve all tenants, the others one."""

    MEMBER = "MEMBER"
    ADMIN = "ADMIN"
    OPERATOR = "OPERATOR"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as the database knows it: without its secret."""

    tenant_id: TenantId
    key_id: KeyId
    display_name: str
    role: Role
    project: str
    secret_hmac: bytes
    # The secret before the last rotation, which works until then.
    old_secret_hmac: bytes | None = None
    old_secret_expire_time: datetime | None = None
    rotate_time: datetime | None = None
    # Empty: it may be used from anywhere.
    allowed_networks: list[Network] = field(default_factory=list[Network])
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedKey:
    """A key as a caller sent it, its checksum verified."""

    key_id: KeyId
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A fresh key; ``text`` is shown to its owner once and stored nowhere."""

    key_id: KeyId
    text: str
    secret_hmac: bytes


def new_key(*, pepper: bytes) -> NewKey:
    """Make a key from the system's randomness; only its HMAC under ``pepper`` may be stored."""
    return new_secret(KeyId(_random_text(_KEY_ID_LENGTH)), pepper=pepper)


def new_secret(key_id: KeyId, *, pepper: bytes) -> NewKey:
    """Make a further secret of a key that exists."""
    secret = _random_text(_SECRET_LENGTH)
    unchecked = f"{_PREFIX}_{key_id}_{secret}"
    return NewKey(
        key_id=key_id,
        text=f"{unchecked}_{_checksum(unchecked)}",
        secret_hmac=_secret_hmac(key_id=key_id, secret=secret, pepper=pepper),
    )


def parse_key(text: str) -> PresentedKey | None:
    """Take a presented key apart; None when it has not the form or the checksum of one of ours."""
    unchecked, _, checksum = text.rpartition("_")
    prefix, _, rest = unchecked.rpartition("_")
    scheme, _, key_id = prefix.rpartition("_")
    well_formed = (
        scheme == _PREFIX
        and len(key_id) == _KEY_ID_LENGTH
        and len(rest) == _SECRET_LENGTH
        and text.isascii()
        and hmac.compare_digest(checksum, _checksum(unchecked))
    )
    return PresentedKey(key_id=KeyId(key_id), secret=rest) if well_formed else None


def matches(presented: PresentedKey, *, secret_hmac: bytes, pepper: bytes) -> bool:
    """Tell in constant time whether the presented secret is the stored one."""
    expected = _secret_hmac(key_id=presented.key_id, secret=presented.secret, pepper=pepper)
    return hmac.compare_digest(expected, secret_hmac)


def opens(presented: PresentedKey, key: StoredKey, *, pepper: bytes, now: datetime) -> bool:
    """Tell whether the presented secret is one of the key's: the one, or the one it replaced."""
    is_secret = matches(presented, secret_hmac=key.secret_hmac, pepper=pepper)
    old, old_expire_time = key.old_secret_hmac, key.old_secret_expire_time
    if old is None or old_expire_time is None or old_expire_time <= now:
        return is_secret
    return matches(presented, secret_hmac=old, pepper=pepper) or is_secret


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _secret_hmac(*, key_id: str, secret: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, f"{key_id}:{secret}".encode(), "sha256")


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits: list[str] = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_BASE62))
        digits.append(_BASE62[digit])
    return "".join(digits)
