"""TLS of the gateway's listener: certificates are read again when their files change.

Every handshake looks at the files' times, which costs microseconds; a renewed certificate is used
by the next connection, and those that stand go on. Files that do not fit one another (one of the
two has been replaced and the other not yet) leave the certificate before in use.
"""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files; with a client CA every client must show a certificate that it has signed."""

    certificate_path: Path
    key_path: Path
    client_ca_path: Path | None = None

    def change_times(self) -> tuple[int, ...]:
        """Tell when each was last written."""
        paths = (self.certificate_path, self.key_path, self.client_ca_path)
        return tuple(path.stat().st_mtime_ns for path in paths if path is not None)

    def read(self) -> Any:  # noqa: ANN401 - grpc's opaque configuration
        """Read all of them; they must fit one another.

        Raises:
            OSError: one cannot be read, or certificate and key do not belong together.
        """
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            self.certificate_path, self.key_path
        )
        return grpc.ssl_server_certificate_configuration(
            [(self.key_path.read_bytes(), self.certificate_path.read_bytes())],
            root_certificates=self.client_ca_path.read_bytes() if self.client_ca_path else None,
        )


class ReloadedCertificates:
    """Gives grpc a new configuration at the first handshake after the files changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._change_times = files.change_times()
        self._initial = files.read()

    def credentials(self) -> grpc.ServerCredentials:
        """Make the credentials of a port."""
        return grpc.dynamic_ssl_server_credentials(
            self._initial,
            self._changed,
            require_client_authentication=self._files.client_ca_path is not None,
        )

    def _changed(self) -> Any:  # noqa: ANN401 - grpc's opaque configuration
        """Return the new configuration, None when nothing changed; called by grpc's own threads."""
        try:
            change_times = self._files.change_times()
            if change_times == self._change_times:
                return None
            configuration = self._files.read()
        except OSError as error:
            _log.warning("tls_files_unfit", error=type(error).__qualname__)
            return None
        self._change_times = change_times
        _log.info("tls_certificate_reloaded", sha256=_fingerprint(self._files.certificate_path))
        return configuration


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
