"""Whom a client certificate names: its tenant and role, from a URI among its SANs.

grpc has verified the certificate against the client authority before anything here is read; what
is left to ask is what that authority wrote into it.
"""

import hashlib
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from services.gateway import errors
from services.transport.callers import certificate_uris
from tenants.api_keys import Role
from tenants.ids import TENANT_ID_PATTERN, KeyId, TenantId

_SCHEME: Final = "atelier:"
# The operator is left out on purpose: whoever signs studios' certificates makes no operators.
_NAME: Final = re.compile(
    rf"atelier://tenants/(?P<tenant>{TENANT_ID_PATTERN})/roles/(?P<role>member|admin)"
)
_PEM: Final = "x509_pem_cert"
_ID_PREFIX: Final = "certificate"
# With the prefix 40 characters, the most that a key's name admits; keys' own ids have 12, so
# neither is ever taken for the other.
_FINGERPRINT_LENGTH: Final = 29


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateIdentity:
    """Whom a certificate names; ``key_id`` stands where a key's id would."""

    tenant_id: TenantId
    role: Role
    key_id: KeyId


def read_identity(auth_context: Mapping[str, Iterable[bytes]]) -> CertificateIdentity | None:
    """Return whom the caller's certificate names; None when it names nobody, or there is none.

    Raises:
        CallRefusedError: KEY_INVALID; it names somebody in another form, or more than one.
    """
    names = {uri for uri in certificate_uris(auth_context) if uri.lower().startswith(_SCHEME)}
    if not names:
        return None
    match = _NAME.fullmatch(next(iter(names)))
    if match is None or len(names) > 1:
        raise errors.certificate_unclear()
    return CertificateIdentity(
        tenant_id=TenantId(match["tenant"]),
        role=Role(match["role"].upper()),
        key_id=_key_id(auth_context),
    )


def _key_id(auth_context: Mapping[str, Iterable[bytes]]) -> KeyId:
    (pem,) = auth_context[_PEM]
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()
    return KeyId(_ID_PREFIX + fingerprint[:_FINGERPRINT_LENGTH])
