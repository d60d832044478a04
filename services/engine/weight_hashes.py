"""Weights against the hashes that came with them: a flipped bit draws wrong pictures in silence.

A folder may hold `SHA256SUMS`, as `sha256sum` writes and checks it. Where it does, every weights
file must be in it and be what it says; where it does not, headers alone are checked.
"""

import hashlib
from pathlib import Path
from typing import Final

from services.engine.errors import DamagedModelError

SUMS_NAME: Final = "SHA256SUMS"


def check_hashes(folder: Path) -> None:
    """Compare every weights file of a model's folder with its hash.

    Raises:
        DamagedModelError: names the file that differs, lacks, or has no hash.
    """
    sums = folder / SUMS_NAME
    if not sums.exists():
        return
    expected = _read(sums)
    for path in _weights_files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in expected:
            raise DamagedModelError(f"{sums} does not name {name}: copy the model again")
        if _sha256(path) != expected.pop(name):
            raise DamagedModelError(f"{path} is not what {SUMS_NAME} says: copy it again")
    if expected:
        raise DamagedModelError(f"{folder / min(expected)} is missing: copy the model again")


def write_hashes(folder: Path) -> None:
    """Leave the hashes of the folder's weights beside them."""
    lines = [
        f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n"
        for path in _weights_files(folder)
    ]
    (folder / SUMS_NAME).write_text("".join(lines))


def _weights_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


def _read(sums: Path) -> dict[str, str]:
    pairs = [line.split(maxsplit=1) for line in sums.read_text().splitlines()]
    return {name: digest for digest, name in (pair for pair in pairs if len(pair) == 2)}  # noqa: PLR2004


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
