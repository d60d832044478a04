"""Which addresses are anybody's, and which are ours or lead to ours in another spelling."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.transport.public_addresses import is_public, may_be_called, read_resolved


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",  # noqa: S104 - nothing is bound
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.0.192",
        "192.88.99.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fec0::1",
        "::7f00:1",
    ],
)
def test_an_address_that_is_ours_or_leads_there_is_not(text: str) -> None:
    assert not is_public(ip_address(text))


@given(st.ip_addresses(v=4))
def test_the_same_address_in_another_spelling_is_judged_alike(inner: object) -> None:
    plain = ip_address(str(inner))
    number = int(plain)

    assert is_public(ip_address(f"::ffff:{plain}")) == is_public(plain)
    assert is_public(ip_address((0x64FF9B << 96) | number)) == is_public(plain)


def test_what_the_operator_names_may_be_called_and_nothing_beside_it() -> None:
    named = [ip_network("10.1.0.0/16")]

    assert may_be_called(ip_address("10.1.2.3"), private_networks=named)
    assert not may_be_called(ip_address("10.2.0.1"), private_networks=named)
    assert not may_be_called(ip_address("::1"), private_networks=named)


def test_the_zone_of_a_link_is_no_way_around() -> None:
    assert not is_public(read_resolved("fe80::1%eth0"))
