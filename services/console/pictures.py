"""Pictures on their way to a browser: content types, thumbnails, and their cache."""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from PIL import Image

from services.console.errors import NotOursError

THUMBNAIL_SIDE_PIXELS: Final = 384
_PIXELS_MAX: Final = 64 * 1024 * 1024
_QUALITY: Final = 80
_THREADS_MAX: Final = 2
# What a browser may be told that a picture is: by its own first bytes, never by what somebody says.
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (b"\xff\xd8\xff", "image/jpeg", "jpg"),
)


def picture_type(data: bytes) -> tuple[str, str]:
    """Return media type and file ending of a picture.

    Raises:
        NotOursError: it is none of those we draw.
    """
    for signature, media_type, ending in _SIGNATURES:
        if data.startswith(signature):
            return media_type, ending
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", "webp"
    raise NotOursError


def make_thumbnail(data: bytes) -> bytes:
    """Shrink a picture to a small WebP.

    Raises:
        NotOursError: it cannot be read, or has more pixels than any of ours.
    """
    picture_type(data)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > _PIXELS_MAX:
                raise NotOursError
            small = picture.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        raise NotOursError from None
    small.thumbnail((THUMBNAIL_SIDE_PIXELS, THUMBNAIL_SIDE_PIXELS))
    written = io.BytesIO()
    small.save(written, "WEBP", quality=_QUALITY)
    return written.getvalue()


class Thumbnails:
    """Thumbnails in memory, the ones seen last; each is made once, however many ask at a time."""

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._byte_count = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._being_made: dict[str, asyncio.Task[bytes]] = {}
        self._threads = asyncio.Semaphore(_THREADS_MAX)

    async def get(self, name: str, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the thumbnail of an image; ``name`` is whole, with its tenant."""
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        making = self._being_made.get(name)
        if making is None:
            making = self._being_made[name] = asyncio.create_task(self._make(name, fetch))
            making.add_done_callback(lambda _: self._being_made.pop(name, None))
        # Whoever leaves does not take it from the others.
        return await asyncio.shield(making)

    async def _make(self, name: str, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        async with self._threads:
            thumbnail = await asyncio.to_thread(make_thumbnail, await fetch())
        self._keep(name, thumbnail)
        return thumbnail

    def _keep(self, name: str, thumbnail: bytes) -> None:
        self._kept[name] = thumbnail
        self._byte_count += len(thumbnail)
        while self._byte_count > self._bytes_max:
            _, forgotten = self._kept.popitem(last=False)
            self._byte_count -= len(forgotten)
