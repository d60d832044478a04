"""What is fetched, from where, at which cost at most; a real server speaks https on loopback."""

import asyncio
import ssl
from collections.abc import Generator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from services.transport.errors import FetchError
from services.transport.guarded_fetch import FetchBounds, GuardedFetcher
from services.transport.public_addresses import Address
from tests.https_server import HttpsServer, Reply, serving_https

LOOPBACK = ip_network("127.0.0.0/8")


ANSWERS = {
    "/small": Reply(content=b'{"small": true}'),
    "/big": Reply(content=b"x" * 5_000),
    "/elsewhere": Reply(status=302, headers={"location": "/small"}),
    "/compressed": Reply(content=b"x", headers={"content-encoding": "gzip"}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[HttpsServer]:
    directory = tmp_path_factory.mktemp("https")

    def answer(path: str) -> Reply:
        return ANSWERS.get(path, Reply(status=404))

    with serving_https(answer, name="id.example", directory=directory) as running:
        yield running


class Resolver:
    """Leads every name where a test says, and counts."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses or ("127.0.0.1",)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        return [ip_address(address) for address in self.addresses]


def fetcher(
    server: HttpsServer, resolver: Resolver | None = None, **changes: Any
) -> GuardedFetcher:
    said: dict[str, Any] = {
        "private_networks": [LOOPBACK],
        "ports": frozenset({server.port}),
        "tls": ssl.create_default_context(cafile=server.ca_path),
        "resolver": resolver or Resolver(),
        "bounds": FetchBounds(bytes_max=1_000, seconds_max=30.0),
    }
    return GuardedFetcher(**(said | changes))


async def failure(fetcher: GuardedFetcher, url: str) -> str:
    with pytest.raises(FetchError) as failed:
        await fetcher.fetch(url)
    return str(failed.value)


async def test_a_document_is_fetched_from_the_address_that_was_looked_at(
    server: HttpsServer,
) -> None:
    resolver = Resolver()

    content = await fetcher(server, resolver).fetch(f"https://id.example:{server.port}/small")

    assert content == b'{"small": true}'
    assert resolver.asked == ["id.example"]


@pytest.mark.parametrize(
    ("path", "because"),
    [
        ("/big", "more than 1000 bytes"),
        ("/elsewhere", "answered 302"),
        ("/compressed", "compressed"),
        ("/missing", "answered 404"),
    ],
)
async def test_another_answer_than_a_small_document_is_refused(
    server: HttpsServer, path: str, because: str
) -> None:
    assert because in await failure(fetcher(server), f"https://id.example:{server.port}{path}")


async def test_the_certificate_must_be_of_the_name_and_of_an_authority_that_is_trusted(
    server: HttpsServer,
) -> None:
    other_name = await failure(fetcher(server), f"https://other.example:{server.port}/small")
    stranger = await failure(
        fetcher(server, tls=ssl.create_default_context()), f"https://id.example:{server.port}/small"
    )

    assert "CERTIFICATE_VERIFY_FAILED" in other_name
    assert "CERTIFICATE_VERIFY_FAILED" in stranger


async def test_a_name_that_leads_within_the_walls_is_not_called(server: HttpsServer) -> None:
    one_of_two = Resolver("127.0.0.1", "169.254.169.254")

    url = f"https://id.example:{server.port}/small"
    assert "not public" in await failure(fetcher(server, private_networks=[]), url)
    assert "not public" in await failure(fetcher(server, one_of_two), url)


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "2130706433", "017700000001", "[::1]"])
async def test_loopback_is_not_called_however_it_is_spelled(server: HttpsServer, host: str) -> None:
    real = GuardedFetcher(ports=frozenset({server.port}))

    assert await failure(real, f"https://{host}:{server.port}/small")


async def test_no_other_port_is_called(server: HttpsServer) -> None:
    guarded = fetcher(server, ports=frozenset({443}))

    assert "port" in await failure(guarded, f"https://id.example:{server.port}/small")


async def test_a_server_that_keeps_silent_costs_a_bounded_time(server: HttpsServer) -> None:
    bounds = FetchBounds(seconds_max=0.05)

    class Silent(Resolver):
        async def __call__(self, host: str, port: int) -> Sequence[Address]:
            await asyncio.Event().wait()
            return []

    assert "TimeoutError" in await failure(
        fetcher(server, Silent(), bounds=bounds), f"https://id.example:{server.port}/small"
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/",
        "https:///path",
        "https://user:word@id.example/",
        "https://id.example/#part",
        "https://id.example:0/",
        "https://id.example:99999/",
        "https://id.exa mple/",
        "https://id.example/\\..",
        "https://[::1/",
        "gopher://id.example/",
        "//id.example/",
        "https://îd.example/",
    ],
)
async def test_what_is_no_plain_https_address_is_not_even_resolved(
    server: HttpsServer, url: str
) -> None:
    resolver = Resolver()

    await failure(fetcher(server, resolver), url)

    assert resolver.asked == []
