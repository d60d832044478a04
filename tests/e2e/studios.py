"""A studio to order with in an installation that was started for a test."""

import atelier
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.money_pb2 import Money
from atelier.v1.price_pb2 import PriceComponent, PriceComponentKind, PriceTier, PriceVersion
from atelier.v1.tenant_service_pb2 import Tenant
from tests.e2e.installations import Up


def address_of(up: Up) -> str:
    host, port = up.address
    return f"{host}:{port}"


def open_studio(up: Up, tenant: str) -> str:
    """Make a price, a tenant with credit and a key; return the key."""
    with atelier.Client(address_of(up), api_key=up.operator_key, tenant=tenant) as operator:
        operator.create_price_version(
            PriceVersion(
                currency_code="EUR",
                components=[
                    PriceComponent(
                        kind=PriceComponentKind.PRICE_COMPONENT_KIND_PER_IMAGE,
                        tiers=[PriceTier(unit_price_nanos=1_000_000)],
                    )
                ],
            )
        )
        operator.create_tenant(tenant, Tenant(display_name=tenant, currency_code="EUR"))
        operator.grant_credit(Money(currency_code="EUR", nanos=10**12), description="Test")
        return operator.create_api_key(ApiKey(role=KeyRole.KEY_ROLE_MEMBER)).secret
