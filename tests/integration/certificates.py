"""Certificates of processes and studios, made here and wrong in one way each where a test asks."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAY = timedelta(days=1)
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """PEM, both."""

    certificate: bytes
    key: bytes


def issue(
    authority: trustme.CA,
    *,
    uris: Collection[str] = (),
    names: Collection[str] = (),
    end_time: datetime | None = None,
) -> Issued:
    """Sign a certificate with exactly these SANs, good from two days before its end."""
    end = end_time or datetime.now(UTC) + _DAY
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 2 * _DAY)
        .not_valid_after(end)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    *(x509.UniformResourceIdentifier(uri) for uri in uris),
                    *(x509.DNSName(name) for name in names),
                ]
            ),
            critical=True,
        )
        .sign(_signer(authority), hashes.SHA256())
    )
    private = key.private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Issued(certificate=certificate.public_bytes(_PEM), key=private)


def write_identity(
    directory: Path,
    authority: trustme.CA,
    uri: str,
    *,
    trusted: trustme.CA | None = None,
    is_expired: bool = False,
) -> Path:
    """Put the identity of a process in place, as Kubernetes mounts it; it serves on localhost."""
    issued = issue(
        authority,
        uris=[uri],
        names=["localhost"],
        end_time=datetime.now(UTC) - timedelta(minutes=1) if is_expired else None,
    )
    directory.mkdir(exist_ok=True)
    (directory / "tls.crt").write_bytes(issued.certificate)
    (directory / "tls.key").write_bytes(issued.key)
    (directory / "ca.crt").write_bytes((trusted or authority).cert_pem.bytes())
    return directory


def _signer(authority: trustme.CA) -> ec.EllipticCurvePrivateKey:
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return signer
