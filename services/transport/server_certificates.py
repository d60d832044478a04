"""TLS of a listener: certificates are read again when their files change.

Every handshake looks at the files' times, which costs microseconds; a renewed certificate is used
by the next connection, and those that stand go on. Files that do not fit one another (one of the
two has been replaced and the other not yet) leave the certificate before in use.
"""

from typing import Any

import grpc
import structlog

from services.transport.tls_files import TlsContent, TlsFiles

_log = structlog.get_logger()


class ReloadedCertificates:
    """Gives grpc a new configuration at the first handshake after the files changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._change_times = files.change_times()
        self._initial = _configuration(files.read())

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
            content = self._files.read()
        except OSError as error:
            _log.warning("tls_files_unfit", error=type(error).__qualname__)
            return None
        self._change_times = change_times
        _log.info("tls_certificate_reloaded", sha256=content.fingerprint)
        return _configuration(content)


def _configuration(content: TlsContent) -> Any:  # noqa: ANN401 - grpc's opaque configuration
    return grpc.ssl_server_certificate_configuration(
        [(content.key, content.certificate)], root_certificates=content.authority
    )
