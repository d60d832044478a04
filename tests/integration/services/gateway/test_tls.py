"""TLS at the door: certificates that are renewed while it serves, and clients that show theirs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from atelier.async_client import AsyncClient
from atelier.errors import CallError, UnavailableError
from atelier.retries import NO_RETRIES
from services.gateway.__main__ import serving
from services.gateway.bootstrap import make_first_operator_key
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
    postgres: Postgres, directory: Path, files: Files, *, client_ca: bool = False
) -> AsyncGenerator[tuple[str, str]]:
    """Serve with TLS; yields the address and an operator's key."""
    settings = gateway_settings(
        postgres,
        directory,
        tls_certificate_path=files.certificate,
        tls_key_path=files.key,
        tls_client_ca_path=files.client_ca if client_ca else None,
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
