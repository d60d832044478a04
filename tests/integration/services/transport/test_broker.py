"""Tokens through a broker that is spoken to with TLS."""

import asyncio
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
import trustme

from services.dispatch.errors import BrokerDownError
from services.dispatch.token_publisher import publish_tokens, queue_length
from services.gateway.diagnosis.broker_checks import look_at_brokers
from services.transport.broker_places import BrokerPlaces
from services.transport.identities import ProcessRole
from services.transport.tls_files import identity_files
from services.worker.consumer import Consumer
from tenants.run_directory import RunDirectory
from tests.integration.certificates import write_identity
from tests.integration.fixture_types import Broker
from tests.integration.installation import PATIENCE_SECONDS
from tests.integration.services.transport.conftest import system_uri, worker_uri
from tests.integration.services.transport.tls_front import tls_front

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A broker's door."""

    authority: trustme.CA
    directory: Path
    port: int

    def brokers(
        self, uri: str, *, authority: trustme.CA | None = None, is_expired: bool = False
    ) -> BrokerPlaces:
        """The brokers as somebody with a certificate reaches them; here all are one."""
        identity = write_identity(
            Path(tempfile.mkdtemp(dir=self.directory)),
            authority or self.authority,
            uri,
            trusted=self.authority,
            is_expired=is_expired,
        )
        return BrokerPlaces(
            run=RunDirectory(self.directory),
            address_template=f"localhost:{self.port}",
            identity_directory=identity,
        )


@pytest.fixture
def front(broker: Broker, short_directory: Path) -> Generator[Front]:
    authority = trustme.CA()
    own = write_identity(short_directory / "i", authority, "spiffe://atelier/tenant/acme/broker")
    with tls_front(broker.socket_path, identity_files(own)) as port:
        yield Front(authority=authority, directory=short_directory, port=port)


async def test_a_token_goes_from_the_gateway_to_the_worker(front: Front) -> None:
    gateway = front.brokers(system_uri(ProcessRole.GATEWAY))
    claimed = Event()
    await asyncio.to_thread(publish_tokens, gateway, tenant_id="acme", model="mini", count=1)
    waiting = await asyncio.to_thread(queue_length, gateway, tenant_id="acme", model="mini")
    consumer = Consumer(
        broker=front.brokers(worker_uri("acme")).of("acme"),
        queue="mini",
        threads=1,
        render_image=claimed.set,
    )
    consumer.start()

    assert waiting == 1
    assert await asyncio.to_thread(claimed.wait, PATIENCE_SECONDS)
    await asyncio.to_thread(consumer.stop)


async def test_atelier_doctor_hears_a_broker_behind_tls(front: Front) -> None:
    heard = await look_at_brokers(front.brokers(system_uri(ProcessRole.GATEWAY)), ["acme"])
    foreign = front.brokers(system_uri(ProcessRole.GATEWAY), authority=trustme.CA())
    unheard = await look_at_brokers(foreign, ["acme"])

    assert "those of 1 tenants answer" in str(heard)
    assert "1 of 1 do not answer: acme" in str(unheard)


def test_a_wrong_certificate_publishes_nothing(front: Front) -> None:
    uri = system_uri(ProcessRole.GATEWAY)
    for brokers in (
        front.brokers(uri, is_expired=True),
        front.brokers(uri, authority=trustme.CA()),
    ):
        with pytest.raises(BrokerDownError):
            publish_tokens(brokers, tenant_id="acme", model="mini", count=1)

    assert queue_length(front.brokers(uri), tenant_id="acme", model="mini") == 0


def test_a_renewed_certificate_is_used_by_the_next_connection(front: Front) -> None:
    brokers = front.brokers(system_uri(ProcessRole.GATEWAY), is_expired=True)
    assert brokers.identity_directory is not None
    with pytest.raises(BrokerDownError):
        publish_tokens(brokers, tenant_id="acme", model="mini", count=1)

    write_identity(brokers.identity_directory, front.authority, system_uri(ProcessRole.GATEWAY))
    publish_tokens(brokers, tenant_id="acme", model="mini", count=1)

    assert queue_length(brokers, tenant_id="acme", model="mini") == 1
