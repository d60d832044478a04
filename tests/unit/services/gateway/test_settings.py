from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from services.gateway.settings import Settings


def settings(**changes: object) -> Settings:
    values: dict[str, object] = {
        "database_url": SecretStr("postgresql://"),
        "operator_database_url": SecretStr("postgresql://"),
        "run_directory": Path(),
        "objects_url": "memory:///",
        "key_pepper": SecretStr("p" * 32),
        "page_token_secret": SecretStr("s" * 32),
    } | changes
    return Settings(**values)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:7431", "[::1]:7431"])
def test_a_loopback_address_needs_no_tls(address: str) -> None:
    assert settings(listen_address=address).listen_address == address


@pytest.mark.parametrize("address", ["0.0.0.0:7431", "[::]:7431", "example.com:7431"])
def test_any_other_address_needs_tls(address: str) -> None:
    with pytest.raises(ValidationError, match="is not loopback"):
        settings(listen_address=address)

    with_tls = settings(
        listen_address=address,
        tls_certificate_path=Path("chain.pem"),
        tls_key_path=Path("key.pem"),
    )
    assert with_tls.listen_address == address


def test_clear_text_beyond_loopback_must_be_asked_for() -> None:
    asked = settings(listen_address="0.0.0.0:7431", clear_text_for_development=True)

    assert asked.tls_files is None


def test_a_client_authority_needs_a_certificate_of_ones_own() -> None:
    with pytest.raises(ValidationError, match="tls_client_ca_path"):
        settings(tls_client_ca_path=Path("ca.pem"))


def test_certificates_that_name_tenants_need_a_client_authority() -> None:
    with pytest.raises(ValidationError, match="certificates_name_tenants"):
        settings(certificates_name_tenants=True)


def test_a_short_pepper_is_refused() -> None:
    with pytest.raises(ValidationError, match="key_pepper"):
        settings(key_pepper=SecretStr("short"))


def test_secrets_do_not_show_in_what_is_printed() -> None:
    assert "ppp" not in repr(settings())


def test_the_key_cache_lives_shorter_than_a_second() -> None:
    with pytest.raises(ValidationError, match="key_cache_seconds"):
        settings(key_cache_seconds=1.0)
