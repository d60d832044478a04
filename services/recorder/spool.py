"""The spool: pictures on this host's disk between their arrival and the object store.

A file is named ``image.attempt.token``. While it arrives it has a name of its own, so that a file
under its final name is always whole, checked and on the disk.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Final

from services.jobs.records import AttemptKey
from services.recorder.errors import PictureDamagedError

_UNFINISHED: Final = ".unfinished"
_READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Spool:
    """A directory of pictures that no other process writes to."""

    directory: Path

    def path(self, name: str) -> Path:
        return self.directory / name

    async def receive(
        self, key: AttemptKey, chunks: AsyncIterator[bytes], *, byte_count: int, sha256: str
    ) -> str:
        """Write a picture to the disk and return its name; it survives a loss of power.

        Raises:
            PictureDamagedError: the bytes are not those that were announced; none are kept.
            OSError: the disk is full or fails; none are kept.
        """
        name = spool_name(key)
        unfinished = self.path(f"{name}.{token_hex(4)}{_UNFINISHED}")
        try:
            await self._write(unfinished, chunks, byte_count=byte_count, sha256=sha256)
            await asyncio.to_thread(self._keep, unfinished, self.path(name))
        finally:
            unfinished.unlink(missing_ok=True)
        return name

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield a picture's bytes; FileNotFoundError when it is not here (any more)."""
        with await asyncio.to_thread(self.path(name).open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, _READ_BYTES):
                yield chunk

    def bytes_free(self) -> int:
        """Tell how much room there is for more."""
        return shutil.disk_usage(self.directory).free

    def remove(self, name: str) -> None:
        """Forget a picture; forgetting it again changes nothing."""
        self.path(name).unlink(missing_ok=True)

    def remove_all_but(self, names: Collection[str]) -> int:
        """Delete what an earlier recorder left and nobody accepted; returns how many files."""
        stray = [path for path in self.directory.iterdir() if path.name not in names]
        for path in stray:
            path.unlink()
        return len(stray)

    async def _write(
        self, path: Path, chunks: AsyncIterator[bytes], *, byte_count: int, sha256: str
    ) -> None:
        digest = hashlib.sha256()
        written = 0
        with path.open("xb") as file:
            async for chunk in chunks:
                written += len(chunk)
                if written > byte_count:
                    raise PictureDamagedError(f"more than the {byte_count} bytes announced")
                digest.update(chunk)
                await asyncio.to_thread(file.write, chunk)
            if written != byte_count or digest.hexdigest() != sha256:
                raise PictureDamagedError(f"{written} bytes, not the {byte_count} announced")
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())

    def _keep(self, unfinished: Path, final: Path) -> None:
        unfinished.rename(final)
        # The name is on the disk only when the directory is.
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def spool_name(key: AttemptKey) -> str:
    """Name the file of an attempt's picture."""
    return f"{key.image_id}.{key.attempt}.{key.claim_token}"
