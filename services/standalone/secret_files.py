"""Passwords and keys that an installation makes for itself, each in a file only its owner reads."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from database.roles import RUN_TIME_ROLES

# 256 random bits, in letters, digits, - and _: fit for a URL without quoting.
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Made at the first start, read at every other."""

    administrator_password: str
    role_passwords: dict[str, str]
    key_pepper: str
    page_token_secret: str


def read_or_make_secrets(folder: Path) -> Secrets:
    """Return the secrets; those that are missing are made."""
    return Secrets(
        administrator_password=_read_or_make(folder / "postgres_administrator"),
        role_passwords={role: _read_or_make(folder / role) for role in RUN_TIME_ROLES},
        key_pepper=_read_or_make(folder / "key_pepper"),
        page_token_secret=_read_or_make(folder / "page_token_secret"),
    )


def write_secret(path: Path, secret: str) -> None:
    """Write a file that nobody else can read at any moment, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secret}\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _read_or_make(path: Path) -> str:
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(_SECRET_BYTES))
    return path.read_text().strip()
