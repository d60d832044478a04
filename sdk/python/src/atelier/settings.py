"""Where the installation is and which key opens it: arguments, environment, login file."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from atelier.certificates import CLIENT_CERTIFICATE_FILE_VARIABLE
from atelier.errors import ConfigurationError

DEFAULT_ADDRESS = "127.0.0.1:7431"
ADDRESS_VARIABLE = "ATELIER_ADDRESS"
API_KEY_VARIABLE = "ATELIER_API_KEY"
_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1", "[::1]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What `atelier login` remembers; without a key, a client certificate says who calls."""

    address: str
    api_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An address as gRPC wants it."""

    host_and_port: str
    tls: bool


def resolve_login(
    *,
    address: str | None = None,
    api_key: str | None = None,
    has_credentials: bool = False,
    environment: Mapping[str, str] = os.environ,
    login_file: Path | None = None,
) -> Login:
    """Take what was given, else the environment, else the login file.

    The file's key is used for the file's address only: a key is not sent to strangers because
    somebody set another address. A program that has credentials of its own gives no key beside
    them, and none of the others is taken.

    Raises:
        ConfigurationError: there is no key, and no client certificate either; or too much.
    """
    if has_credentials and api_key:
        raise ConfigurationError("give an API key or credentials, not both")
    remembered = read_login(login_file or default_login_file())
    address = address or environment.get(ADDRESS_VARIABLE)
    if has_credentials:
        return Login(
            address=address or (remembered.address if remembered else DEFAULT_ADDRESS), api_key=""
        )
    api_key = api_key or environment.get(API_KEY_VARIABLE)
    if api_key:
        fallback = remembered.address if remembered else DEFAULT_ADDRESS
        return Login(address=address or fallback, api_key=api_key)
    if remembered and address in {None, remembered.address}:
        return remembered
    if environment.get(CLIENT_CERTIFICATE_FILE_VARIABLE):
        return Login(address=address or DEFAULT_ADDRESS, api_key="")
    raise ConfigurationError(
        f"no API key for {address or DEFAULT_ADDRESS}: run `atelier login`, "
        f"or set {API_KEY_VARIABLE}"
    )


def parse_address(address: str) -> Target:
    """Read `host:port`, `https://host[:port]` or `http://host:port`.

    Without a scheme a loopback address is spoken to in clear text and any other with TLS: a key
    never crosses a network unprotected unless `http://` asks for it.

    Raises:
        ConfigurationError: there is no host, or no port where one is needed.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "", address
    rest = rest.rstrip("/")
    if scheme == "unix":
        return Target(host_and_port=f"unix:{rest}", tls=False)
    if scheme not in {"", "http", "https"} or not rest:
        raise ConfigurationError(f"{address!r} is no address: use host:port or https://host:port")
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        host, port = rest, ""
    tls = scheme == "https" or (not scheme and not is_loopback(host))
    if not port and not tls:
        raise ConfigurationError(f"{address!r} has no port")
    return Target(host_and_port=f"{host}:{port or 443}", tls=tls)


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address is this machine's own."""
    return host in _LOOPBACK_HOSTS


def default_login_file() -> Path:
    """Name the file `atelier login` writes."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home())
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "atelier" / "login.json"


def read_login(path: Path) -> Login | None:
    """Read a login file; None when there is none.

    Raises:
        ConfigurationError: it is not one of ours.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    try:
        content = cast("object", json.loads(text))
    except ValueError as error:
        raise ConfigurationError(f"{path} is damaged: run `atelier login` again") from error
    match content:
        case {"address": str(address), "api_key": str(api_key)}:
            return Login(address=address, api_key=api_key)
        case _:
            raise ConfigurationError(f"{path} is damaged: run `atelier login` again")


def write_login(path: Path, login: Login) -> None:
    """Write a login file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    content = json.dumps({"address": login.address, "api_key": login.api_key})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
