"""Names of processes in certificates: written and read alike, and nothing else read."""

import pytest

from services.transport.errors import IdentityUnclearError
from services.transport.identities import Identity, ProcessRole, parse_identity
from services.transport.tls_files import check_identity
from tenants.ids import TenantId


@pytest.mark.parametrize(
    ("identity", "uri"),
    [
        (
            Identity(role=ProcessRole.WORKER, tenant_id=TenantId("acme")),
            "spiffe://atelier/tenant/acme/worker",
        ),
        (
            Identity(role=ProcessRole.BROKER, tenant_id=TenantId("acme")),
            "spiffe://atelier/tenant/acme/broker",
        ),
        (Identity(role=ProcessRole.RECORDER), "spiffe://atelier/system/recorder"),
    ],
)
def test_a_name_is_read_as_it_is_written(identity: Identity, uri: str) -> None:
    assert identity.uri == uri
    assert parse_identity({uri}) == identity


@pytest.mark.parametrize(
    "uris",
    [
        set[str](),
        {"spiffe://atelier/tenant/acme/worker", "spiffe://atelier/system/gateway"},
        {"spiffe://atelier/tenant/acme/worker", "https://acme.example"},
        {"spiffe://atelier/tenant/acme/gateway"},
        {"spiffe://atelier/system/worker"},
        {"spiffe://atelier/system/"},
        {"spiffe://atelier/tenant//worker"},
        {"spiffe://atelier/tenant/acme/worker/"},
        {"spiffe://atelier/tenant/acme/worker\n"},
        {"spiffe://atelier/tenant/ac/me/worker"},
        {"spiffe://Atelier/tenant/acme/worker"},
    ],
)
def test_whatever_reads_otherwise_names_nobody(uris: set[str]) -> None:
    with pytest.raises(IdentityUnclearError):
        parse_identity(uris)


def test_an_address_without_a_certificate_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="recorder_address: needs identity_directory"):
        check_identity(None, recorder_address="recorder:7441", meter_address=None)


def test_without_an_address_no_certificate_is_needed() -> None:
    check_identity(None, recorder_address=None)
