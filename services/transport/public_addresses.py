"""Which addresses a server may call when somebody else decides whom.

A name can point anywhere: at this machine, at the cloud's metadata service, at a neighbour's
database. So what counts is the address that is connected to, looked at after it was resolved;
another spelling of a name or a number (octal, hexadecimal, short) is then no way around.
"""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# An IPv4 address travels in their last 32 bits.
_NAT64: Final = ip_network("64:ff9b::/96")
# All that is routed to anybody over IPv6; loopback, links and old forms of IPv4 lie beside it.
_UNICAST: Final = ip_network("2000::/3")
# Tunnels and translators to somewhere else, documentation, protocol assignments. Python's
# `is_global` calls some of them global, which depends on its version.
_NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)


def is_public(address: Address) -> bool:
    """Tell whether an address is anybody's on the internet: no tunnel, no group, none of ours."""
    inner = _carried(address)
    if inner is not None:
        return is_public(inner)
    is_unicast = address in _UNICAST or (
        isinstance(address, IPv4Address) and not address.is_multicast
    )
    is_odd = any(_is_in(address, network) for network in _NEVER)
    return is_unicast and address.is_global and not is_odd


def may_be_called(address: Address, *, private_networks: Iterable[Network]) -> bool:
    """Tell whether an address is public, or within what the operator has named."""
    return is_public(address) or any(_is_in(address, network) for network in private_networks)


def read_resolved(text: str) -> Address:
    """Read an address as the resolver writes it, with or without the zone of a link."""
    return ip_address(text.partition("%")[0])


def _carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


def _is_in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network
