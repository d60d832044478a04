"""Calls that must happen once: what makes two requests the same."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from services.gateway.conversions import to_uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceKey:
    """How a request is recognised when it is sent again."""

    request_id: UUID
    method: str
    body_sha256: bytes


def once_key(request: Any, *, scope: str) -> OnceKey:  # noqa: ANN401 - any request with a request_id
    """Take a request's id and the hash of the rest.

    ``scope`` is the real name of what it is for: `tenants/-` and the full name are one.
    """
    return OnceKey(
        request_id=to_uuid(request.request_id),
        method=request.DESCRIPTOR.name.removesuffix("Request"),
        body_sha256=_body_sha256(request, scope=scope),
    )


def _body_sha256(request: Message, *, scope: str) -> bytes:
    body = type(request)()
    body.CopyFrom(request)
    for name in ("request_id", "parent"):
        if name in request.DESCRIPTOR.fields_by_name:
            body.ClearField(name)
    return sha256(f"{scope}\n".encode() + body.SerializeToString(deterministic=True)).digest()
