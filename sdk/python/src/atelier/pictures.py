"""Finished pictures: their bytes, checked against the hash the server announced."""

import contextlib
import hashlib
import io
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Protocol

from atelier.errors import AtelierError, DownloadCorruptError
from atelier.v1.image_pb2 import Image, PictureFile, Receipt

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A finished image with its bytes."""

    image: Image
    data: bytes

    @property
    def name(self) -> str:
        return self.image.name

    @property
    def receipt(self) -> Receipt:
        return self.image.receipt

    @property
    def seed(self) -> int:
        return self.image.spec.seed

    def open(self) -> "PillowImage":
        """Open it with Pillow, which must be installed (`pip install atelier[pillow]`)."""
        from PIL import Image as pillow  # noqa: N813, PLC0415 - optional

        return pillow.open(io.BytesIO(self.data))

    def save(self, path: Path) -> None:
        """Write its bytes as they are."""
        path.write_bytes(self.data)


class ImagesFailedError(AtelierError):
    """Not every image came; what did is in `pictures`."""

    def __init__(self, *, pictures: list[Picture], failed_images: list[Image]) -> None:
        reasons = sorted({image.failure.reason or "UNKNOWN" for image in failed_images})
        super().__init__(
            f"{len(failed_images)} of {len(failed_images) + len(pictures)} images did not come: "
            + ", ".join(reasons)
        )
        self.pictures = pictures
        self.failed_images = failed_images


class FilePart(Protocol):
    """A message of a download: the file's description, then its bytes."""

    @property
    def file(self) -> PictureFile: ...
    @property
    def chunk(self) -> bytes: ...
    def HasField(self, field_name: str) -> bool: ...  # noqa: N802 - protobuf's name


class VerifiedDownload:
    """Counts and hashes what comes, so that a broken download goes on and a wrong one is found."""

    def __init__(self) -> None:
        self.byte_count = 0
        self._sha256 = hashlib.sha256()
        self._announced: PictureFile | None = None

    def take_file(self, file: PictureFile) -> None:
        """Learn what is to come; after a break it must be the same file."""
        if self._announced is not None and self._announced.sha256 != file.sha256:
            raise DownloadCorruptError("the picture changed while it was downloaded")
        self._announced = file

    def take_chunk(self, chunk: bytes) -> None:
        self.byte_count += len(chunk)
        self._sha256.update(chunk)

    def finish(self) -> PictureFile:
        """Check that everything came as announced.

        Raises:
            DownloadCorruptError: it did not.
        """
        if self._announced is None:
            raise DownloadCorruptError("the server sent no description of the picture")
        if self.byte_count != self._announced.byte_count:
            raise DownloadCorruptError(
                f"{self.byte_count} of {self._announced.byte_count} bytes came"
            )
        if self._sha256.hexdigest() != self._announced.sha256:
            raise DownloadCorruptError("the picture's bytes do not match their SHA-256")
        return self._announced


async def save_chunks(chunks: AsyncIterator[bytes], path: Path) -> None:
    """Write a file that is either whole or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files are for their owner alone: who may read it is the umask's matter.
    unfinished = path.with_name(f".{token_hex(8)}.unfinished")
    try:
        with unfinished.open("xb") as file:
            async for chunk in chunks:
                file.write(chunk)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


async def join_chunks(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """Read a stream of chunks into memory."""
    async with contextlib.aclosing(chunks):
        return b"".join([chunk async for chunk in chunks])
