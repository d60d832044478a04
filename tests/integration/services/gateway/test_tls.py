"""TLS at the door: certificates that are renewed while it serves, and clients that show theirs."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from atelier.async_client import AsyncClient
from atelier.errors import CallError, UnavailableError
from atelier.retries import NO_RETRIES
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.tenant_service_pb2 import Tenant
from services.gateway.bootstrap import make_first_operator_key
from services.gateway.serving import serving
from tests.integration.certificates import issue
from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import PEPPER, gateway_settings

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a gateway's certificate lies."""

    certificate: Path
    key: Path
    client_ca: Path

    def write(self, authority: trustme.CA) -> None:
        """Put a new certificate in place."""
        issued = authority.issue_cert("localhost", "127.0.0.1")
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(
        certificate=tmp_path / "certificate",
        key=tmp_path / "key",
        client_ca=tmp_path / "client_ca",
    )


@asynccontextmanager
async def listening(
    postgres: Postgres,
    directory: Path,
    files: Files,
    *,
    client_ca: bool = False,
    certificates_name_tenants: bool = False,
) -> AsyncGenerator[tuple[str, str]]:
    """Serve with TLS; yields the address and an operator's key."""
    settings = gateway_settings(
        postgres,
        directory,
        tls_certificate_path=files.certificate,
        tls_key_path=files.key,
        tls_client_ca_path=files.client_ca if client_ca else None,
        certificates_name_tenants=certificates_name_tenants,
    )
    key = await make_first_operator_key(
        postgres.url("atelier_operator"), pepper=PEPPER.encode(), another=True
    )
    async with serving(settings) as port:
        yield f"https://localhost:{port}", key


async def opens(address: str, key: str, authority: trustme.CA) -> bool:
    """Ask with trust in one authority alone."""
    root = authority.cert_pem.bytes()
    async with AsyncClient(
        address, api_key=key, root_certificates=root, retry_policy=NO_RETRIES
    ) as client:
        try:
            return bool([model async for model in client.list_models()])
        except UnavailableError:
            return False


async def test_a_renewed_certificate_is_used_without_a_restart(
    postgres: Postgres, short_directory: Path, files: Files
) -> None:
    before, after = trustme.CA(), trustme.CA()
    files.write(before)
    async with listening(postgres, short_directory, files) as (address, key):
        at_first = [await opens(address, key, authority) for authority in (before, after)]
        files.write(after)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await opens(address, key, after):
                await asyncio.sleep(0.05)
        stale = await opens(address, key, before)

    assert at_first == [True, False]
    assert not stale


async def test_files_that_do_not_fit_leave_the_certificate_before_in_use(
    postgres: Postgres, short_directory: Path, files: Files
) -> None:
    authority = trustme.CA()
    files.write(authority)
    async with listening(postgres, short_directory, files) as (address, key):
        files.key.write_text("half written")
        still = await opens(address, key, authority)

    assert still


async def test_clear_text_does_not_pass_where_tls_is_spoken(
    postgres: Postgres, short_directory: Path, files: Files
) -> None:
    files.write(trustme.CA())
    async with listening(postgres, short_directory, files) as (address, key):
        clear = address.replace("https://", "http://")
        async with AsyncClient(clear, api_key=key, retry_policy=NO_RETRIES) as client:
            with pytest.raises(CallError):
                [model async for model in client.list_models()]


async def test_with_a_client_authority_only_its_certificates_get_to_the_door(
    postgres: Postgres, short_directory: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, of_clients, of_strangers = trustme.CA(), trustme.CA(), trustme.CA()
    files.write(authority)
    of_clients.cert_pem.write_to_path(str(files.client_ca))
    opened: dict[str, bool] = {}
    async with listening(postgres, short_directory, files, client_ca=True) as (address, key):
        opened["without"] = await opens(address, key, authority)
        for name, issuer in (("ours", of_clients), ("a stranger's", of_strangers)):
            show(issuer, files, monkeypatch)
            opened[name] = await opens(address, key, authority)

    assert opened == {"without": False, "ours": True, "a stranger's": False}


def show(issuer: trustme.CA, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the SDK show a certificate of an issuer."""
    issued = issuer.issue_cert("studio@example.org")
    for variable, pem in (
        ("ATELIER_CLIENT_CERTIFICATE_FILE", issued.cert_chain_pems[0]),
        ("ATELIER_CLIENT_KEY_FILE", issued.private_key_pem),
    ):
        path = files.certificate.with_name(variable)
        pem.write_to_path(str(path))
        monkeypatch.setenv(variable, str(path))


def show_uris(
    issuer: trustme.CA, files: Files, monkeypatch: pytest.MonkeyPatch, *uris: str
) -> None:
    """Let the SDK show a certificate whose SANs are these URIs."""
    issued = issue(issuer, uris=uris)
    for variable, content in (
        ("ATELIER_CLIENT_CERTIFICATE_FILE", issued.certificate),
        ("ATELIER_CLIENT_KEY_FILE", issued.key),
    ):
        path = files.certificate.with_name(variable)
        path.write_bytes(content)
        monkeypatch.setenv(variable, str(path))


async def whoami(address: str, key: str | None, authority: trustme.CA) -> tuple[str, str]:
    """Return tenant and key id as the gateway sees them, or UNAUTHENTICATED's reason and text."""
    root = authority.cert_pem.bytes()
    async with AsyncClient(
        address, api_key=key, root_certificates=root, retry_policy=NO_RETRIES
    ) as client:
        try:
            installation = await client.get_installation()
        except CallError as error:
            return "refused", str(error)
    return installation.tenant, installation.api_key.rpartition("/")[2]


async def test_a_certificate_names_the_caller_and_binds_the_keys_beside_it(
    postgres: Postgres, short_directory: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, of_clients = trustme.CA(), trustme.CA()
    files.write(authority)
    of_clients.cert_pem.write_to_path(str(files.client_ca))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_directory))
    monkeypatch.delenv("ATELIER_API_KEY", raising=False)
    name = f"san-{secrets.token_hex(4)}"
    uri = f"atelier://tenants/{name}/roles/member"
    told: dict[str, tuple[str, str]] = {}
    async with listening(
        postgres, short_directory, files, client_ca=True, certificates_name_tenants=True
    ) as (address, operator):
        show(of_clients, files, monkeypatch)
        async with AsyncClient(
            address, api_key=operator, root_certificates=authority.cert_pem.bytes(), tenant=name
        ) as client:
            await client.create_tenant(name, Tenant(display_name=name, currency_code="EUR"))
            made = await client.create_api_key(ApiKey(role=KeyRole.KEY_ROLE_ADMIN))
        told["names nobody"] = await whoami(address, None, authority)
        for label, key, uris in (
            ("member", None, [uri]),
            ("own key", made.secret, [uri]),
            ("another's key", operator, [uri]),
            ("unknown tenant", None, ["atelier://tenants/nobody-here/roles/member"]),
            ("operator", None, ["atelier://tenants/operator/roles/admin"]),
            ("operator role", None, [f"atelier://tenants/{name}/roles/operator"]),
            ("two names", None, [uri, uri.replace("member", "admin")]),
            ("malformed beside a key", made.secret, [f"ATELIER://tenants/{name}"]),
        ):
            show_uris(of_clients, files, monkeypatch, *uris)
            told[label] = await whoami(address, key, authority)

    assert told["member"][0] == f"tenants/{name}"
    assert told["member"][1].startswith("certificate")
    assert told["own key"] == (f"tenants/{name}", made.api_key.name.rpartition("/")[2])
    wrong_key = told["names nobody"]
    assert wrong_key[0] == "refused"
    assert "an API key is needed" in wrong_key[1]
    for label in ("another's key", "unknown tenant", "operator"):
        assert told[label] == wrong_key
    for label in ("operator role", "two names", "malformed beside a key"):
        assert told[label][0] == "refused"
        assert "must name one tenant and role" in told[label][1]
