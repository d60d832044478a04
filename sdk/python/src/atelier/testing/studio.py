"""A studio to order with: a tenant with a price, credit and a key."""

from dataclasses import dataclass

from atelier.client import Client
from atelier.money import money
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.price_pb2 import PriceComponent, PriceComponentKind, PriceTier, PriceVersion
from atelier.v1.tenant_service_pb2 import Tenant

# A cent an image; enough credit for a hundred thousand of them.
_IMAGE_PRICE_NANOS = 10_000_000
_CREDIT = "1000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """A tenant of a local installation, with an admin's key."""

    address: str
    tenant_id: str
    api_key: str

    @property
    def environment(self) -> dict[str, str]:
        """What programs under test are told by: `ATELIER_ADDRESS` and `ATELIER_API_KEY`."""
        return {"ATELIER_ADDRESS": self.address, "ATELIER_API_KEY": self.api_key}

    def client(self) -> Client:
        return Client(self.address, api_key=self.api_key)


def open_studio(operator: Client, tenant_id: str, *, currency: str) -> str:
    """Make a tenant that an operator acts for; return its admin's key."""
    component = PriceComponent(
        kind=PriceComponentKind.PRICE_COMPONENT_KIND_PER_IMAGE,
        tiers=[PriceTier(unit_price_nanos=_IMAGE_PRICE_NANOS)],
    )
    operator.create_price_version(
        PriceVersion(price_book=tenant_id, currency_code=currency, components=[component])
    )
    operator.create_tenant(
        tenant_id, Tenant(display_name=tenant_id, currency_code=currency, price_book=tenant_id)
    )
    operator.grant_credit(money(_CREDIT, currency), description="to develop with")
    return operator.create_api_key(ApiKey(role=KeyRole.KEY_ROLE_ADMIN)).secret
