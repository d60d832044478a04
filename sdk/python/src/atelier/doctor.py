"""What is wrong with a set-up, from the address to the key: `atelier doctor`.

Each step stands on the one before it, so the first that fails is the one to mend. Nothing is sent
but what every call sends, and the key only where a call would send it.
"""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version

from atelier.client import Client
from atelier.contract import contract_sha256
from atelier.errors import (
    AtelierError,
    CallNotImplementedError,
    ConfigurationError,
    KeyExpiredError,
    KeyRevokedError,
    NotAuthenticatedError,
    UnavailableError,
)
from atelier.retries import NO_RETRIES
from atelier.settings import Login, Target, is_loopback, parse_address, resolve_login
from atelier.tls_check import TlsProblem, look_at_clear_text, look_at_tls
from atelier.v1.api_key_service_pb2 import KeyRole
from atelier.v1.installation_service_pb2 import Installation

CONNECT_SECONDS_MAX = 5.0
# Beyond this, deadlines and expiry times begin to mean something else here than there.
SKEW_SECONDS_MAX = 5.0
CERTIFICATE_DAYS_MIN = 14


class FindingState(StrEnum):
    """How a step went."""

    OK = "OK"
    WARNING = "WARNING"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One step, with what was found and what to do about it."""

    check: str
    state: FindingState
    message: str
    advice: str = ""


def diagnose(*, address: str | None = None, api_key: str | None = None) -> Iterator[Finding]:
    """Yield what is found, step by step; ends with the first that fails."""
    try:
        login = resolve_login(address=address, api_key=api_key)
        target = parse_address(login.address)
    except ConfigurationError as error:
        yield _failed("settings", str(error), "Give --address and --api-key, or `atelier login`.")
        return
    yield _ok("settings", f"{login.address}, {'with' if target.tls else 'without'} TLS")
    for step in (_look_at_network, _look_at_protection):
        for finding in step(target):
            yield finding
            if finding.state is FindingState.FAILED:
                return
    yield from _look_at_server(login)


def _look_at_network(target: Target) -> Iterator[Finding]:
    if target.host_and_port.startswith("unix:"):
        return
    host, port = split_host_and_port(target)
    try:
        addresses = sorted({str(info[4][0]) for info in socket.getaddrinfo(host, port)})
    except socket.gaierror as error:
        yield _failed(
            "name",
            f"{host} is not known: {error.strerror}",
            "Look for a mistyped name; ask who runs your DNS, or use an IP address.",
        )
        return
    yield _ok("name", f"{host} is {', '.join(addresses)}")
    try:
        socket.create_connection((host, port), CONNECT_SECONDS_MAX).close()
    except TimeoutError:
        yield _failed(
            "port",
            f"{host}:{port} does not answer within {CONNECT_SECONDS_MAX:g} s",
            "A firewall drops the packets, or the host is down: ask who runs the network.",
        )
    except OSError as error:
        yield _failed(
            "port",
            f"{host}:{port} cannot be reached: {error.strerror or error}",
            "Nobody listens there: look at the port, and whether the gateway runs.",
        )
    else:
        yield _ok("port", f"{host}:{port} takes connections")


def _look_at_protection(target: Target) -> Iterator[Finding]:
    if target.host_and_port.startswith("unix:"):
        return
    host, port = split_host_and_port(target)
    try:
        if not target.tls:
            look_at_clear_text(host, port, timeout_seconds=CONNECT_SECONDS_MAX)
            yield _clear_text(host)
            return
        days = look_at_tls(host, port, timeout_seconds=CONNECT_SECONDS_MAX)
    except TlsProblem as problem:
        yield _failed("TLS", problem.message, problem.advice)
        return
    if days < CERTIFICATE_DAYS_MIN:
        yield _warning(
            "TLS",
            f"the certificate ends in {days} days",
            "Ask the operator to renew it; calls fail from then on.",
        )
    else:
        yield _ok("TLS", f"the certificate is good for {days} days")


def _clear_text(host: str) -> Finding:
    if is_loopback(host):
        return _ok("TLS", "none, and none is needed on this machine itself")
    return _warning(
        "TLS",
        "none: key and pictures travel in clear text",
        "Use https:// unless the network between is yours alone.",
    )


def _look_at_server(login: Login) -> Iterator[Finding]:
    before = time.monotonic()
    try:
        with Client(login.address, api_key=login.api_key, retry_policy=NO_RETRIES) as client:
            installation = client.get_installation()
    except AtelierError as error:
        yield _refusal(error)
        return
    seconds = time.monotonic() - before
    yield _ok("server", f"version {installation.server_version} answered in {seconds:.2f} s")
    yield _key(installation)
    yield _clock(installation, round_trip_seconds=seconds)
    yield _version(installation)


def _refusal(error: AtelierError) -> Finding:
    match error:
        case KeyExpiredError() | KeyRevokedError():
            return _failed("key", str(error), "Ask an admin of your studio for a new key.")
        case NotAuthenticatedError():
            return _failed(
                "key", str(error), "Look for a cut or mistyped key, or one of another installation."
            )
        case CallNotImplementedError():
            return _warning(
                "version",
                "the server is older than this client and cannot tell its version",
                "Ask the operator for its version, and install that one of `atelier`.",
            )
        case UnavailableError():
            return _failed(
                "server",
                f"it took the connection and no call: {error}",
                "A proxy may stand before the gateway that does not pass gRPC (HTTP/2) on.",
            )
        case _:
            return _failed("server", str(error), "Show this to the operator.")


def _key(installation: Installation) -> Finding:
    role = KeyRole.Name(installation.role).removeprefix("KEY_ROLE_").lower()
    told = f"{role} of {installation.tenant} ({installation.api_key.rpartition('/')[2]})"
    if installation.suspended:
        return _warning(
            "key",
            f"{told}; the tenant is suspended",
            "It may read, not order: ask the operator.",
        )
    return _ok("key", told)


def _clock(installation: Installation, *, round_trip_seconds: float) -> Finding:
    there = installation.server_time.ToDatetime(tzinfo=UTC)
    skew = (there - datetime.now(UTC)).total_seconds()
    if abs(skew) <= SKEW_SECONDS_MAX + round_trip_seconds:
        return _ok("clock", f"agrees with the server's to {SKEW_SECONDS_MAX:g} s")
    direction = "behind" if skew > 0 else "ahead of"
    return _warning(
        "clock",
        f"this machine's is {abs(skew):.0f} s {direction} the server's",
        "Keep it by NTP: --deadline, --expires and --from mean other moments there.",
    )


def _version(installation: Installation) -> Finding:
    own = version("atelier")
    told = f"client {own}, server {installation.server_version}"
    if installation.contract_sha256 == contract_sha256():
        return _ok("version", f"{told}, the same contract")
    return _warning(
        "version",
        f"{told}, and their contracts differ",
        "Calls both know work; for the others install the client of the server's version.",
    )


def split_host_and_port(target: Target) -> tuple[str, int]:
    """Take an address apart; brackets of IPv6 go."""
    host, _, port = target.host_and_port.rpartition(":")
    return host.strip("[]"), int(port)


def _ok(check: str, message: str) -> Finding:
    return Finding(check=check, state=FindingState.OK, message=message)


def _warning(check: str, message: str, advice: str) -> Finding:
    return Finding(check=check, state=FindingState.WARNING, message=message, advice=advice)


def _failed(check: str, message: str, advice: str) -> Finding:
    return Finding(check=check, state=FindingState.FAILED, message=message, advice=advice)
