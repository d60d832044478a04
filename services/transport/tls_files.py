"""Certificate, key and authority as PEM files that may be renewed at any time."""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsContent:
    """What the files hold, read at one moment."""

    certificate: bytes
    key: bytes
    authority: bytes | None

    @property
    def fingerprint(self) -> str:
        """Enough of the certificate's hash to tell two apart in a log."""
        return hashlib.sha256(self.certificate).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files; ``client_ca_path`` holds the authority that the other side must be signed by."""

    certificate_path: Path
    key_path: Path
    client_ca_path: Path | None = None

    def change_times(self) -> tuple[int, ...]:
        """Tell when each was last written."""
        paths = (self.certificate_path, self.key_path, self.client_ca_path)
        return tuple(path.stat().st_mtime_ns for path in paths if path is not None)

    def read(self) -> TlsContent:
        """Read all of them; they must fit one another.

        Raises:
            OSError: one cannot be read, or certificate and key do not belong together.
        """
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            self.certificate_path, self.key_path
        )
        return TlsContent(
            certificate=self.certificate_path.read_bytes(),
            key=self.key_path.read_bytes(),
            authority=self.client_ca_path.read_bytes() if self.client_ca_path else None,
        )


def identity_files(directory: Path) -> TlsFiles:
    """Name the files of a process's own certificate, as cert-manager and Kubernetes call them."""
    return TlsFiles(
        certificate_path=directory / "tls.crt",
        key_path=directory / "tls.key",
        client_ca_path=directory / "ca.crt",
    )


def check_identity(identity_directory: Path | None, **addresses: str | None) -> None:
    """Refuse settings with an address and without a certificate that can be used for it.

    Raises:
        ValueError: says which address, or what is wrong with the files.
    """
    named = [name for name, address in addresses.items() if address]
    if not named:
        return
    if identity_directory is None:
        raise ValueError(
            f"{', '.join(named)}: needs identity_directory, because the certificate says who"
            " calls and who answers; nothing is spoken over TCP without TLS"
        )
    try:
        identity_files(identity_directory).read()
    except OSError as error:
        raise ValueError(f"identity_directory {identity_directory}: {error}") from error
