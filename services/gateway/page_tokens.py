"""Opaque tokens that continue a list or a stream, signed and bound to what was asked.

A token carries a position only. The question (method, tenant, filters) is part of the signature, so
a token of another list, of another tenant or of a changed filter does not verify.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from typing import Final, TypeAlias

from services.gateway.errors import page_token_mismatch

_SIGNATURE_LENGTH: Final = 16
_TOKEN_LENGTH_MAX: Final = 1024

# Where the page before ended: texts (an id, an ISO time, a number in digits).
Position: TypeAlias = tuple[str, ...]


class PageTokens:
    """Writes and reads tokens under one secret; all replicas share it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def write(self, position: Sequence[str], *, query: bytes) -> str:
        """Make the token of a position in the answer to ``query``."""
        payload = json.dumps(list(position), separators=(",", ":")).encode()
        return _encode(self._signature(payload, query=query) + payload)

    def read(self, token: str, *, query: bytes, field: str = "page_token") -> Position:
        """Return the position a token carries.

        Raises:
            CallRefusedError: PAGE_TOKEN_MISMATCH, when the token is not ours, was changed, or
                answers another question; ``field`` is what the violation names.
        """
        signed = _decode(token)
        signature, payload = signed[:_SIGNATURE_LENGTH], signed[_SIGNATURE_LENGTH:]
        if not hmac.compare_digest(signature, self._signature(payload, query=query)):
            raise page_token_mismatch(field)
        return tuple(json.loads(payload))

    def _signature(self, payload: bytes, *, query: bytes) -> bytes:
        # The length keeps (payload, query) apart: no other pair gives the same bytes.
        message = len(payload).to_bytes(4) + payload + query
        return hmac.digest(self._secret, message, "sha256")[:_SIGNATURE_LENGTH]


def _decode(token: str) -> bytes:
    if len(token) > _TOKEN_LENGTH_MAX:
        return b""
    try:
        signed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    # Several texts decode to the same bytes; only the one we write is ours.
    return signed if _encode(signed) == token else b""


def _encode(signed: bytes) -> str:
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
