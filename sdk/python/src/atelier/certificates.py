"""Whom to believe, and how to show who one is: PEM files named by the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atelier.errors import ConfigurationError

CA_FILE_VARIABLE = "ATELIER_CA_FILE"
CLIENT_CERTIFICATE_FILE_VARIABLE = "ATELIER_CLIENT_CERTIFICATE_FILE"
CLIENT_KEY_FILE_VARIABLE = "ATELIER_CLIENT_KEY_FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """What TLS needs besides the address; None: the system's roots, no certificate of one's own."""

    root_certificates: bytes | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = None


def read_certificates(environment: Mapping[str, str] = os.environ) -> Certificates:
    """Read the files that the environment names.

    Raises:
        ConfigurationError: one cannot be read, or a certificate comes without its key.
    """
    read = Certificates(
        root_certificates=_read(environment.get(CA_FILE_VARIABLE)),
        client_certificate=_read(environment.get(CLIENT_CERTIFICATE_FILE_VARIABLE)),
        client_key=_read(environment.get(CLIENT_KEY_FILE_VARIABLE)),
    )
    if (read.client_certificate is None) != (read.client_key is None):
        raise ConfigurationError(
            f"{CLIENT_CERTIFICATE_FILE_VARIABLE} and {CLIENT_KEY_FILE_VARIABLE} belong together"
        )
    return read


def _read(path: str | None) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
