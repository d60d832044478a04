import stat
from pathlib import Path

import pytest

from atelier.errors import ConfigurationError
from atelier.settings import (
    Login,
    Target,
    parse_address,
    read_login,
    resolve_login,
    write_login,
)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("127.0.0.1:7431", Target(host_and_port="127.0.0.1:7431", tls=False)),
        ("localhost:1", Target(host_and_port="localhost:1", tls=False)),
        ("[::1]:7431", Target(host_and_port="[::1]:7431", tls=False)),
        ("studio.example:7431", Target(host_and_port="studio.example:7431", tls=True)),
        ("studio.example", Target(host_and_port="studio.example:443", tls=True)),
        ("https://studio.example/", Target(host_and_port="studio.example:443", tls=True)),
        ("http://studio.example:80", Target(host_and_port="studio.example:80", tls=False)),
        ("unix:///run/gateway.sock", Target(host_and_port="unix:/run/gateway.sock", tls=False)),
    ],
)
def test_a_key_crosses_a_network_in_clear_only_when_asked_to(address: str, target: Target) -> None:
    assert parse_address(address) == target


@pytest.mark.parametrize("address", ["", "ftp://studio.example", "http://", "localhost"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_address(address)


def test_arguments_count_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    write_login(file, Login(address="filed:1", api_key="filed"))
    environment = {"ATELIER_ADDRESS": "set:1", "ATELIER_API_KEY": "set"}

    def resolve(address: str | None, api_key: str | None, where: dict[str, str]) -> Login:
        return resolve_login(address=address, api_key=api_key, environment=where, login_file=file)

    assert resolve("given:1", "given", environment) == Login(address="given:1", api_key="given")
    assert resolve(None, None, environment) == Login(address="set:1", api_key="set")
    assert resolve(None, None, {}) == Login(address="filed:1", api_key="filed")


def test_the_remembered_key_is_not_sent_to_another_address(tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    write_login(file, Login(address="studio:1", api_key="filed"))

    with pytest.raises(ConfigurationError, match="no API key for stranger:1"):
        resolve_login(address="stranger:1", environment={}, login_file=file)


def test_a_client_certificate_stands_in_for_a_key(tmp_path: Path) -> None:
    environment = {"ATELIER_CLIENT_CERTIFICATE_FILE": "studio.pem"}

    login = resolve_login(
        address="studio:1", environment=environment, login_file=tmp_path / "login.json"
    )

    assert login == Login(address="studio:1", api_key="")


def test_a_login_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "atelier" / "login.json"

    write_login(file, Login(address="studio:1", api_key="secret"))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_login(file) == Login(address="studio:1", api_key="secret")


@pytest.mark.parametrize("content", ["", "[]", '{"address": 1}'])
def test_a_damaged_login_file_says_what_to_do(tmp_path: Path, content: str) -> None:
    file = tmp_path / "login.json"
    file.write_text(content)

    with pytest.raises(ConfigurationError, match="run `atelier login` again"):
        read_login(file)
