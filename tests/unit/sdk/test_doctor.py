import asyncio
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme

from atelier import doctor
from atelier.cli.main import run
from atelier.contract import contract_sha256
from atelier.doctor import Finding, FindingState, diagnose
from atelier.v1 import installation_service_pb2 as wire
from atelier.v1.api_key_service_pb2 import KeyRole
from atelier.v1.installation_service_pb2_grpc import (
    InstallationServiceServicer,
    add_InstallationServiceServicer_to_server,
)
from tests.unit.sdk.small_server import Refusal

TOGETHER = "ATELIER_CLIENT_CERTIFICATE_FILE and ATELIER_CLIENT_KEY_FILE belong together"
OPERATOR = wire.Finding(
    check="recorder",
    state=wire.FindingState.FINDING_STATE_FAILED,
    message="nobody is there",
    advice="Start it.",
)


class SmallInstallation(InstallationServiceServicer):
    """An installation as scripted by a test."""

    def __init__(self) -> None:
        self.skew = timedelta()
        self.contract = contract_sha256()
        self.suspended = False
        self.refusal: Refusal | None = None
        self.findings = [OPERATOR]

    async def GetInstallation(self, request: Any, context: Any) -> wire.Installation:
        if self.refusal is not None:
            details = (("grpc-status-details-bin", self.refusal.rich.SerializeToString()),)
            await context.abort(self.refusal.code, self.refusal.rich.message, details)
        answer = wire.Installation(
            server_version="9.9.9",
            contract_sha256=self.contract,
            tenant="tenants/acme",
            api_key="tenants/acme/apiKeys/k1",
            role=KeyRole.KEY_ROLE_ADMIN,
            suspended=self.suspended,
        )
        answer.server_time.FromDatetime(datetime.now(UTC) + self.skew)
        return answer

    async def VerifyInstallation(
        self, request: Any, context: Any
    ) -> AsyncGenerator[wire.VerifyInstallationResponse]:
        for finding in self.findings:
            yield wire.VerifyInstallationResponse(finding=finding)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ATELIER_API_KEY", raising=False)
    monkeypatch.delenv("ATELIER_ADDRESS", raising=False)
    # A port where somebody listens and says nothing is not worth five seconds here.
    monkeypatch.setattr(doctor, "CONNECT_SECONDS_MAX", 1.0)


@pytest.fixture
def installation() -> SmallInstallation:
    return SmallInstallation()


@pytest.fixture
async def address(installation: SmallInstallation) -> Any:
    server, port = await serve(installation)
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def serve(
    installation: SmallInstallation, credentials: grpc.ServerCredentials | None = None
) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server()
    add_InstallationServiceServicer_to_server(installation, server)
    place = "127.0.0.1:0"
    port = (
        server.add_secure_port(place, credentials)
        if credentials
        else server.add_insecure_port(place)
    )
    await server.start()
    return server, port


async def look(address: str) -> list[Finding]:
    return await asyncio.to_thread(lambda: list(diagnose(address=address, api_key="key")))


def last(findings: list[Finding]) -> tuple[str, FindingState, str]:
    return findings[-1].check, findings[-1].state, findings[-1].message


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


async def test_nothing_is_wrong(address: str) -> None:
    findings = await look(address)

    assert [(finding.check, finding.state) for finding in findings] == [
        (check, FindingState.OK)
        for check in ("settings", "name", "port", "TLS", "server", "key", "clock", "version")
    ]
    assert by_check(findings)["key"].message == "admin of tenants/acme (k1)"


def test_a_missing_key_is_told_with_what_to_do() -> None:
    [finding] = diagnose()

    assert finding.state is FindingState.FAILED
    assert "atelier login" in finding.advice


async def test_an_address_that_is_none() -> None:
    assert last(await look("ftp://nowhere")) == (
        "settings",
        FindingState.FAILED,
        "'ftp://nowhere' is no address: use host:port or https://host:port",
    )


async def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert last(await look("atelier.invalid:7431")) == (
        "name",
        FindingState.FAILED,
        "atelier.invalid is not known: Name or service not known",
    )


async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

        check, state, message = last(await look(f"127.0.0.1:{port}"))

    assert (check, state) == ("port", FindingState.FAILED)
    assert "Connection refused" in message


async def test_something_else_listens_there() -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        found = last(await look(f"http://127.0.0.1:{port}"))

    assert found == (
        "TLS",
        FindingState.FAILED,
        "what listens there does not speak HTTP/2, so it is no gateway",
    )


# ------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(path))
    return path


ServeTls = Callable[..., int]


@pytest.fixture
def serve_tls() -> Generator[ServeTls]:
    """Shake hands with whoever comes; nothing is said after that."""
    listeners: list[socket.socket] = []

    def serve_one(certificate: trustme.LeafCert, *, protocols: list[str] | None = None) -> int:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
        context.set_alpn_protocols(protocols or ["h2"])
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=accept_for_ever, args=(listener, context), daemon=True).start()
        return int(listener.getsockname()[1])

    yield serve_one
    for listener in listeners:
        listener.close()


def accept_for_ever(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()


async def test_an_unknown_issuer_says_how_to_trust_it(
    serve_tls: ServeTls, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    port = serve_tls(authority.issue_cert("localhost"))

    findings = await look(f"https://localhost:{port}")

    assert last(findings)[:2] == ("TLS", FindingState.FAILED)
    assert "nobody this machine trusts" in findings[-1].message
    assert "ATELIER_CA_FILE" in findings[-1].advice


@pytest.mark.parametrize("variable", ["ATELIER_CA_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"])
async def test_the_doctor_believes_whom_a_call_believes(
    serve_tls: ServeTls,
    authority: trustme.CA,
    trusted: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    monkeypatch.setenv(variable, str(trusted))
    in_a_year = datetime.now(UTC) + timedelta(days=365, hours=1)
    port = serve_tls(authority.issue_cert("localhost", not_after=in_a_year))

    findings = await look(f"https://localhost:{port}")

    assert by_check(findings)["TLS"].message == "the certificate is good for 365 days"


async def test_a_certificate_of_ones_own_that_cannot_be_read_is_named(
    serve_tls: ServeTls, authority: trustme.CA, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_CLIENT_CERTIFICATE_FILE", str(trusted))
    port = serve_tls(authority.issue_cert("localhost"))

    findings = await look(f"https://localhost:{port}")

    assert last(findings) == (
        "TLS",
        FindingState.FAILED,
        f"the certificates of this side cannot be used: {TOGETHER}",
    )


async def test_an_expired_certificate(
    serve_tls: ServeTls, authority: trustme.CA, trusted: Path
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    port = serve_tls(authority.issue_cert("localhost", not_after=yesterday))

    assert last(await look(f"https://localhost:{port}")) == (
        "TLS",
        FindingState.FAILED,
        "the server's certificate has expired",
    )


async def test_a_certificate_of_another_name(
    serve_tls: ServeTls, authority: trustme.CA, trusted: Path
) -> None:
    port = serve_tls(authority.issue_cert("another.example"))

    assert last(await look(f"https://localhost:{port}")) == (
        "TLS",
        FindingState.FAILED,
        "the server's certificate is not for localhost",
    )


async def test_a_server_that_speaks_no_http2(
    serve_tls: ServeTls, authority: trustme.CA, trusted: Path
) -> None:
    port = serve_tls(authority.issue_cert("localhost"), protocols=["http/1.1"])

    assert last(await look(f"https://localhost:{port}")) == (
        "TLS",
        FindingState.FAILED,
        "the server speaks TLS and not HTTP/2, which gRPC needs",
    )


async def test_tls_where_the_server_speaks_clear_text(address: str) -> None:
    findings = await look(f"https://{address}")

    assert last(findings)[:2] == ("TLS", FindingState.FAILED)
    assert findings[-1].message.startswith("the server does not speak TLS here")
    assert f"http://{address}" in findings[-1].advice


async def test_clear_text_where_the_server_wants_tls(
    serve_tls: ServeTls, authority: trustme.CA
) -> None:
    port = serve_tls(authority.issue_cert("127.0.0.1"))

    findings = await look(f"http://127.0.0.1:{port}")

    assert last(findings) == (
        "TLS",
        FindingState.FAILED,
        "the server wants TLS, and was spoken to in clear text",
    )
    assert findings[-1].advice == f"Use https://127.0.0.1:{port} as the address."


async def test_a_certificate_that_ends_soon_is_a_warning_and_calls_go_through_tls(
    installation: SmallInstallation, authority: trustme.CA, trusted: Path
) -> None:
    soon = datetime.now(UTC) + timedelta(days=3, hours=1)
    leaf = authority.issue_cert("localhost", not_after=soon)
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)])
    server, port = await serve(installation, credentials)

    # gRPC reads the variable once in a process's life, so the command is another one.
    arguments = ["doctor", "--format", "json", "--address", f"https://localhost:{port}"]
    command = [sys.executable, "-c", "from atelier.cli.main import main; main()", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "ATELIER_API_KEY": "key"},
    )
    output, _ = await process.communicate()
    await server.stop(None)

    told = {finding["check"]: finding for finding in json.loads(output)}
    assert process.returncode == 0
    assert told["TLS"]["message"] == "the certificate ends in 3 days"
    assert told["TLS"]["state"] == "WARNING"
    assert told["key"]["state"] == "OK"


# ------------------------------------------------------------------------- what the server tells


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("KEY_INVALID", "Look for a cut or mistyped key, or one of another installation."),
        ("KEY_EXPIRED", "Ask an admin of your studio for a new key."),
        ("KEY_REVOKED", "Ask an admin of your studio for a new key."),
    ],
)
async def test_a_key_that_does_not_open(
    address: str, installation: SmallInstallation, reason: str, advice: str
) -> None:
    installation.refusal = Refusal(grpc.StatusCode.UNAUTHENTICATED, reason)

    findings = await look(address)

    assert last(findings)[:2] == ("key", FindingState.FAILED)
    assert findings[-1].advice == advice


async def test_an_older_server_is_a_warning(address: str, installation: SmallInstallation) -> None:
    installation.refusal = Refusal(grpc.StatusCode.UNIMPLEMENTED, "")

    assert last(await look(address))[:2] == ("version", FindingState.WARNING)


async def test_a_server_that_refuses_every_call(
    address: str, installation: SmallInstallation
) -> None:
    installation.refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING")

    assert last(await look(address))[:2] == ("server", FindingState.FAILED)


@pytest.mark.parametrize(("hours", "direction"), [(1, "behind"), (-1, "ahead of")])
async def test_a_clock_that_is_off(
    address: str, installation: SmallInstallation, hours: int, direction: str
) -> None:
    installation.skew = timedelta(hours=hours)

    clock = by_check(await look(address))["clock"]

    assert clock.state is FindingState.WARNING
    assert f"{direction} the server's" in clock.message


async def test_another_contract_and_a_suspended_tenant_are_warnings(
    address: str, installation: SmallInstallation
) -> None:
    installation.contract = "0" * 64
    installation.suspended = True

    found = by_check(await look(address))

    assert found["version"].state is FindingState.WARNING
    assert found["key"].message == "admin of tenants/acme (k1); the tenant is suspended"


# ------------------------------------------------------------------------------- the command line


async def test_the_doctor_ends_with_0_when_nothing_failed(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--address", address, "--api-key", "key", "doctor"]

    assert await asyncio.to_thread(run, arguments) == 0
    assert "OK       key: admin of tenants/acme (k1)" in capsys.readouterr().out


async def test_the_admins_doctor_tells_the_servers_findings_and_ends_with_1(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--address", address, "--api-key", "key", "admin", "doctor", "--format", "json"]

    assert await asyncio.to_thread(run, arguments) == 1
    assert json.loads(capsys.readouterr().out)[-1] == {
        "check": "recorder",
        "state": "FAILED",
        "message": "nobody is there",
        "advice": "Start it.",
    }
