from ipaddress import ip_network

import pytest

from services.gateway.peer_addresses import PeerAddresses


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:50000", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:50000", "2001:db8::1"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:50000", "192.0.2.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:50000", "fe80::1"),
        ("unix:/run/gateway.sock", "None"),
        ("noise", "None"),
    ],
)
def test_the_address_is_read_from_the_connection(peer: str, address: str) -> None:
    assert str(PeerAddresses().read(peer, ())) == address


def test_nobody_is_believed_to_speak_for_another_unless_he_is_trusted() -> None:
    forwarded = [("x-forwarded-for", "198.51.100.7")]

    assert str(PeerAddresses().read("ipv4:192.0.2.1:1", forwarded)) == "192.0.2.1"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("10.9.9.9, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("198.51.100.7, noise", "None"),
        ("", "10.0.0.1"),
    ],
)
def test_behind_trusted_proxies_the_first_that_is_none_is_the_caller(
    forwarded: str, address: str
) -> None:
    peers = PeerAddresses(trusted_proxies=[ip_network("10.0.0.0/24")])

    assert str(peers.read("ipv4:10.0.0.1:1", [("x-forwarded-for", forwarded)])) == address
