"""What a server speaks at a port, and what is wrong with its certificate, in words."""

import os
import pkgutil
import socket
import ssl
import time
from pathlib import Path
from typing import Final

from atelier.certificates import (
    CA_FILE_VARIABLE,
    CLIENT_CERTIFICATE_FILE_VARIABLE,
    CLIENT_KEY_FILE_VARIABLE,
    read_certificates,
)
from atelier.errors import ConfigurationError

# gRPC's own variable for whom to trust, in place of the roots it brings.
_GRPC_ROOTS_VARIABLE: Final = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
_SECONDS_PER_DAY: Final = 86_400
_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# An empty SETTINGS frame: length 0, type 4, no flags, stream 0. A server begins with one too.
_EMPTY_SETTINGS: Final = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_HEADER_BYTES: Final = 9
_SETTINGS_TYPE: Final = 4
# OpenSSL's numbers of what can be wrong with a certificate.
_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_UNKNOWN_ISSUERS: Final = {18, 19, 20, 21}
_WRONG_NAMES: Final = {62, 64}


class TlsProblem(Exception):  # noqa: N818 - a finding, told by the doctor
    """Client and server do not agree on how to protect the connection."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


def look_at_tls(host: str, port: int, *, timeout_seconds: float) -> int:
    """Shake hands as gRPC would; return how many days the certificate is still good for.

    Raises:
        TlsProblem: a call would fail here.
    """
    context = _context_of_a_call()
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), timeout_seconds) as connection,
            context.wrap_socket(connection, server_hostname=host) as protected,
        ):
            certificate = protected.getpeercert() or {}
            protocol = protected.selected_alpn_protocol()
    except ssl.SSLCertVerificationError as error:
        raise TlsProblem(*_certificate_problem(error, host)) from None
    except ssl.SSLError as error:
        raise TlsProblem(
            f"the server does not speak TLS here: {error.reason}",
            f"If the operator offers no TLS, use http://{host}:{port} in a network you trust.",
        ) from None
    except OSError as error:
        raise TlsProblem(
            f"the connection broke while TLS was agreed on: {error}",
            "Ask the operator what stands before the gateway.",
        ) from None
    if protocol != "h2":
        raise TlsProblem(
            "the server speaks TLS and not HTTP/2, which gRPC needs",
            "Another service listens here, or a proxy that must be told to pass HTTP/2 on.",
        )
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return int((ends - time.time()) // _SECONDS_PER_DAY)


def _context_of_a_call() -> ssl.SSLContext:
    """Believe whom our calls believe, which are not the system's roots, and show what they show."""
    try:
        roots = read_certificates().root_certificates or _roots_of_grpc()
        context = ssl.create_default_context(cadata=roots.decode())
        certificate = os.environ.get(CLIENT_CERTIFICATE_FILE_VARIABLE)
        if certificate:
            context.load_cert_chain(certificate, os.environ[CLIENT_KEY_FILE_VARIABLE])
    except (ConfigurationError, OSError, ValueError) as error:
        raise TlsProblem(
            f"the certificates of this side cannot be used: {error}",
            f"Look at the PEM files that {CA_FILE_VARIABLE}, {CLIENT_CERTIFICATE_FILE_VARIABLE} "
            f"and {CLIENT_KEY_FILE_VARIABLE} name.",
        ) from None
    return context


def _roots_of_grpc() -> bytes:
    path = os.environ.get(_GRPC_ROOTS_VARIABLE)
    if path:
        return Path(path).read_bytes()
    roots = pkgutil.get_data("grpc._cython", "_credentials/roots.pem")
    assert roots, "grpcio brings its roots"
    return roots


def look_at_clear_text(host: str, port: int, *, timeout_seconds: float) -> None:
    """Begin HTTP/2 as gRPC would.

    Raises:
        TlsProblem: something else answers, or nobody.
    """
    try:
        with socket.create_connection((host, port), timeout_seconds) as connection:
            connection.sendall(_HTTP2_PREFACE + _EMPTY_SETTINGS)
            answer = connection.recv(_FRAME_HEADER_BYTES)
    except OSError:
        answer = b""
    if len(answer) > 3 and answer[3] == _SETTINGS_TYPE:  # noqa: PLR2004 - the type's place
        return
    if _speaks_tls(host, port, timeout_seconds=timeout_seconds):
        raise TlsProblem(
            "the server wants TLS, and was spoken to in clear text",
            f"Use https://{host}:{port} as the address.",
        )
    raise TlsProblem(
        "what listens there does not speak HTTP/2, so it is no gateway",
        "Look at the port; the gateway's own is 7431 unless its operator chose another.",
    )


def _speaks_tls(host: str, port: int, *, timeout_seconds: float) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    # Nothing is sent through it: only whether there is TLS is asked.
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout_seconds) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return True
    except OSError:
        return False


def _certificate_problem(error: ssl.SSLCertVerificationError, host: str) -> tuple[str, str]:
    code = error.verify_code
    if code == _EXPIRED:
        return "the server's certificate has expired", "Ask the operator to renew it."
    if code == _NOT_YET_VALID:
        return (
            "the server's certificate is not valid yet",
            "Look at this machine's clock first, then ask the operator.",
        )
    if code in _WRONG_NAMES:
        return (
            f"the server's certificate is not for {host}",
            "Use the name that stands in the certificate, or ask the operator for one with yours.",
        )
    if code in _UNKNOWN_ISSUERS:
        return (
            f"nobody this machine trusts signed the server's certificate: {error.verify_message}",
            f"Put the operator's certificate into a file and name it in {CA_FILE_VARIABLE}.",
        )
    return error.verify_message, "Show this to the operator."
