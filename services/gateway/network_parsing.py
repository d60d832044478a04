"""Networks from where somebody may call, as a caller wrote them."""

from collections.abc import Iterable
from ipaddress import ip_network

from services.gateway.errors import invalid_field
from tenants.api_keys import Network


def parse_networks(texts: Iterable[str], *, field: str) -> list[Network]:
    """Read addresses and networks.

    Raises:
        CallRefusedError: FIELD_VIOLATION, naming the one that is none.
    """
    networks: list[Network] = []
    for index, text in enumerate(texts):
        try:
            networks.append(ip_network(text))
        except ValueError:
            raise invalid_field(
                f"{field}[{index}]",
                "is no address and no network such as 192.0.2.0/24 (no bit set behind the prefix)",
            ) from None
    return networks
