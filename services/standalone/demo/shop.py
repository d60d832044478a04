"""The demo's cast and prices."""

from dataclasses import dataclass
from typing import Final

CURRENCY: Final = "EUR"
CREDIT_NANOS: Final = 50_000_000_000
# 0.8 cent an image, 0.2 cent a megapixel-step, 32 cents a kWh, also where it is only estimated.
IMAGE_PRICE_NANOS: Final = 8_000_000
MEGAPIXEL_STEP_PRICE_NANOS: Final = 2_000_000
KWH_PRICE_NANOS: Final = 320_000_000
# The most that the energy of an image may be charged for, whatever the meter says.
ENERGY_MILLIJOULES_FIXED_MAX: Final = 2_000_000
ENERGY_MILLIJOULES_PER_MEGAPIXEL_STEP_MAX: Final = 2_000_000
VAT_MILLIONTHS: Final = 190_000
# Fields of the standalone settings; the shop is as invented as its studios.
SELLER: Final = {
    "seller_legal_name": "Elbe GPU Works GmbH (demonstration)",
    "seller_postal_address": "Speicherstadt 7\n20457 Hamburg\nGermany",
    "seller_vat_id": "DE987654321",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """A tenant of the demo."""

    tenant_id: str
    display_name: str
    legal_name: str
    postal_address: str
    vat_id: str


STUDIOS: Final = (
    Studio(
        tenant_id="acme",
        display_name="Acme Studio",
        legal_name="Acme Studio GmbH",
        postal_address="Hafenstraße 12\n20457 Hamburg\nGermany",
        vat_id="DE123456789",
    ),
    Studio(
        tenant_id="zeta",
        display_name="Zeta Pictures",
        legal_name="Zeta Pictures B.V.",
        postal_address="Keizersgracht 401\n1016 EK Amsterdam\nNetherlands",
        vat_id="NL123456789B01",
    ),
)
