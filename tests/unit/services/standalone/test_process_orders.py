"""What the processes of one machine are told."""

from collections.abc import Mapping
from pathlib import Path

from services.standalone.demo.run import demo_settings
from services.standalone.directories import DataDirectory
from services.standalone.process_orders import Installation, gateway_settings
from services.standalone.secret_files import Secrets
from services.standalone.settings import Settings
from tenants.run_directory import RunDirectory

SECRETS = Secrets(administrator_password="", role_passwords={}, key_pepper="", page_token_secret="")


def sellers(settings: Settings) -> Mapping[str, str]:
    """What the gateway is told of who sells."""
    told = gateway_settings(
        Installation(
            settings=settings,
            data=DataDirectory(Path("/data")),
            run=RunDirectory(Path("/run/atelier")),
            secrets=SECRETS,
            database_urls={"atelier_gateway": "a", "atelier_operator": "b"},
            gateway_address="127.0.0.1:1",
        )
    )
    return {
        name.removeprefix("ATELIER_GATEWAY_SELLER_"): value
        for name, value in told.items()
        if "SELLER" in name
    }


def test_who_sells_is_told_to_the_gateway() -> None:
    settings = Settings(seller_legal_name="Pixel Ltd", seller_postal_address="1 Road\nYork")

    assert sellers(settings) == {"LEGAL_NAME": "Pixel Ltd", "POSTAL_ADDRESS": "1 Road\nYork"}


def test_without_a_seller_the_gateway_says_what_it_says_by_itself() -> None:
    assert sellers(Settings()) == {}


def test_the_demos_shop_says_that_it_is_one() -> None:
    assert sellers(demo_settings(Settings(), cores=2))["LEGAL_NAME"].endswith("(demonstration)")
