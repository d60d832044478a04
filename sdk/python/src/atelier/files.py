"""Files the server makes: invoices and exports."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from atelier.errors import DownloadCorruptError


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedFile:
    """A file as it came."""

    file_name: str
    content_type: str
    data: bytes

    def save(self, folder: Path) -> Path:
        """Write it under the last part of its own name; return where."""
        # The server names the file; it does not choose the folder.
        path = folder / Path(self.file_name).name
        path.write_bytes(self.data)
        return path


def check_sha256(data: bytes, announced: str) -> None:
    """Compare bytes with the hash the server announced.

    Raises:
        DownloadCorruptError: they differ.
    """
    if hashlib.sha256(data).hexdigest() != announced:
        raise DownloadCorruptError("the file's bytes do not match their SHA-256")
