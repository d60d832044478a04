import asyncio
import io

import pytest
from PIL import Image

from services.console.errors import NotOursError
from services.console.pictures import Thumbnails, make_thumbnail, picture_type


def png(width: int = 800, height: int = 400) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(written, "PNG")
    return written.getvalue()


def test_a_thumbnail_is_a_small_webp_of_the_same_shape() -> None:
    thumbnail = make_thumbnail(png())

    with Image.open(io.BytesIO(thumbnail)) as picture:
        assert picture.format == "WEBP"
        assert picture.size == (384, 192)


@pytest.mark.parametrize("data", [b"", b"<svg onload=alert(1)>", b"GIF89a", png()[:40]])
def test_what_is_no_picture_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(NotOursError):
        make_thumbnail(data)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked() -> None:
    # A header alone: 100,000 × 100,000 pixels would be 30 GB.
    bomb = bytearray(png(16, 16))
    bomb[16:24] = (100_000).to_bytes(4, "big") * 2

    with pytest.raises(NotOursError):
        make_thumbnail(bytes(bomb))


def test_a_pictures_type_is_told_by_its_bytes() -> None:
    assert picture_type(png()) == ("image/png", "png")
    assert picture_type(b"\xff\xd8\xff\xe0rest") == ("image/jpeg", "jpg")
    assert picture_type(b"RIFF\0\0\0\0WEBPVP8 ") == ("image/webp", "webp")


async def test_a_thumbnail_is_made_once_for_all_who_ask_at_a_time_and_then_kept() -> None:
    fetched: list[int] = []

    async def fetch() -> bytes:
        fetched.append(1)
        return png()

    thumbnails = Thumbnails(bytes_max=10**6)
    first, second = await asyncio.gather(*(thumbnails.get("acme/a/b", fetch) for _ in range(2)))
    third = await thumbnails.get("acme/a/b", fetch)

    assert first == second == third
    assert len(fetched) == 1


async def test_thumbnails_seen_longest_ago_are_forgotten_when_memory_is_full() -> None:
    fetched: list[str] = []
    thumbnails = Thumbnails(bytes_max=len(make_thumbnail(png())))

    async def get(name: str) -> None:
        async def fetch() -> bytes:
            fetched.append(name)
            return png()

        await thumbnails.get(name, fetch)

    for name in ("a", "b", "b", "a"):
        await get(name)

    assert fetched == ["a", "b", "a"]
