"""What is fetched, from where, at which cost at most; a real server speaks https on loopback."""

import asyncio
import ssl
import threading
from collections.abc import Generator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import trustme

from services.transport.errors import FetchError
from services.transport.guarded_fetch import FetchBounds, GuardedFetcher
from services.transport.public_addresses import Address

LOOPBACK = ip_network("127.0.0.0/8")


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, headers, content = {
            "/small": (200, {}, b'{"small": true}'),
            "/big": (200, {}, b"x" * 5_000),
            "/elsewhere": (302, {"location": "/small"}, b""),
            "/compressed": (200, {"content-encoding": "gzip"}, b"x"),
        }.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def port(authority: trustme.CA) -> Generator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("id.example").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


class Resolver:
    """Leads every name where a test says, and counts."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses or ("127.0.0.1",)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        return [ip_address(address) for address in self.addresses]


def fetcher(
    authority: trustme.CA, port: int, resolver: Resolver | None = None, **changes: Any
) -> GuardedFetcher:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    said: dict[str, Any] = {
        "private_networks": [LOOPBACK],
        "ports": frozenset({port}),
        "tls": context,
        "resolver": resolver or Resolver(),
        "bounds": FetchBounds(bytes_max=1_000, seconds_max=30.0),
    }
    return GuardedFetcher(**(said | changes))


async def failure(fetcher: GuardedFetcher, url: str) -> str:
    with pytest.raises(FetchError) as failed:
        await fetcher.fetch(url)
    return str(failed.value)


async def test_a_document_is_fetched_from_the_address_that_was_looked_at(
    authority: trustme.CA, port: int
) -> None:
    resolver = Resolver()

    content = await fetcher(authority, port, resolver).fetch(f"https://id.example:{port}/small")

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
    authority: trustme.CA, port: int, path: str, because: str
) -> None:
    assert because in await failure(fetcher(authority, port), f"https://id.example:{port}{path}")


async def test_the_certificate_must_be_of_the_name_and_of_an_authority_that_is_trusted(
    authority: trustme.CA, port: int
) -> None:
    other_name = await failure(fetcher(authority, port), f"https://other.example:{port}/small")
    stranger = await failure(fetcher(trustme.CA(), port), f"https://id.example:{port}/small")

    assert "CERTIFICATE_VERIFY_FAILED" in other_name
    assert "CERTIFICATE_VERIFY_FAILED" in stranger


async def test_a_name_that_leads_within_the_walls_is_not_called(
    authority: trustme.CA, port: int
) -> None:
    one_of_two = Resolver("127.0.0.1", "169.254.169.254")

    url = f"https://id.example:{port}/small"
    assert "not public" in await failure(fetcher(authority, port, private_networks=[]), url)
    assert "not public" in await failure(fetcher(authority, port, one_of_two), url)


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "2130706433", "017700000001", "[::1]"])
async def test_loopback_is_not_called_however_it_is_spelled(
    authority: trustme.CA, port: int, host: str
) -> None:
    real = GuardedFetcher(ports=frozenset({port}))

    assert await failure(real, f"https://{host}:{port}/small")


async def test_no_other_port_is_called(authority: trustme.CA, port: int) -> None:
    guarded = fetcher(authority, port, ports=frozenset({443}))

    assert "port" in await failure(guarded, f"https://id.example:{port}/small")


async def test_a_server_that_keeps_silent_costs_a_bounded_time(authority: trustme.CA) -> None:
    bounds = FetchBounds(seconds_max=0.05)

    class Silent(Resolver):
        async def __call__(self, host: str, port: int) -> Sequence[Address]:
            await asyncio.Event().wait()
            return []

    assert "TimeoutError" in await failure(
        fetcher(authority, 443, Silent(), bounds=bounds), "https://id.example/small"
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
    authority: trustme.CA, url: str
) -> None:
    resolver = Resolver()

    await failure(fetcher(authority, 443, resolver), url)

    assert resolver.asked == []
