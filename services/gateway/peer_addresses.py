"""The network address a call comes from, also when a proxy stands between."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias
from urllib.parse import unquote

from tenants.api_keys import Network

Address: TypeAlias = IPv4Address | IPv6Address

_FORWARDED_KEY: Final = "x-forwarded-for"
# More hops than any chain of proxies that is meant.
_HOPS_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAddresses:
    """Reads addresses; believes ``x-forwarded-for`` only as far as trusted proxies wrote it."""

    trusted_proxies: Sequence[Network] = ()

    def read(self, peer: str, metadata: Iterable[tuple[str, str | bytes]]) -> Address | None:
        """Return the caller's address; None for a UNIX socket and whatever is none.

        ``peer`` is grpc's text, such as ``ipv4:192.0.2.1:50000``. Each proxy appends whom it
        heard, so the list is read from its end: the first that is no trusted proxy is the caller.
        What stands before that the caller may have written itself.
        """
        address = _address_of_peer(peer)
        for hop in reversed(_forwarded(metadata)):
            if address is None or not self._is_trusted(address):
                break
            address = _address(hop)
        return address

    def _is_trusted(self, address: Address) -> bool:
        return is_within(address, self.trusted_proxies)


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Tell whether an address lies in one of the networks."""
    return any(address in network for network in networks)


def _forwarded(metadata: Iterable[tuple[str, str | bytes]]) -> Sequence[str]:
    """Read every such header, in their order, as one list: a proxy may add a further one."""
    values = [value for key, value in metadata if key == _FORWARDED_KEY and isinstance(value, str)]
    hops = ",".join(values).rsplit(",", _HOPS_MAX)[-_HOPS_MAX:]
    return [hop for hop in hops if hop.strip()]


def _address_of_peer(peer: str) -> Address | None:
    """Read ``ipv4:a.b.c.d:port`` or ``ipv6:%5B::1%5D:port``."""
    family, _, rest = unquote(peer).partition(":")
    if family not in {"ipv4", "ipv6"}:
        return None
    return _address(rest.rpartition(":")[0])


def _address(text: str) -> Address | None:
    """Read an address; one of IPv4 written as IPv6 is the same address."""
    try:
        address = ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
