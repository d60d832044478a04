import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from services.jobs.records import AttemptKey
from services.recorder.errors import PictureDamagedError
from services.recorder.spool import Spool
from tenants.ids import ImageId

KEY = AttemptKey(
    image_id=ImageId("image1"), attempt=2, claim_token=UUID("00000000-0000-4000-8000-000000000000")
)
NAME = "image1.2.00000000-0000-4000-8000-000000000000"
SHA256 = hashlib.sha256(b"abcdef").hexdigest()


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise ConnectionResetError


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


async def test_a_picture_has_its_final_name_once_it_is_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path)

    name = await spool.receive(KEY, chunks(b"abc", b"def"), byte_count=6, sha256=SHA256)

    assert name == NAME
    assert names(tmp_path) == [NAME]
    assert b"".join([chunk async for chunk in spool.read(name)]) == b"abcdef"


@pytest.mark.parametrize("parts", [(b"abc",), (b"abc", b"deX"), (b"abc", b"def", b"g"), ()])
async def test_other_bytes_than_announced_leave_nothing(
    tmp_path: Path, parts: tuple[bytes, ...]
) -> None:
    with pytest.raises(PictureDamagedError):
        await Spool(tmp_path).receive(KEY, chunks(*parts), byte_count=6, sha256=SHA256)

    assert names(tmp_path) == []


async def test_a_stream_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        await Spool(tmp_path).receive(KEY, broken(b"abc"), byte_count=6, sha256=SHA256)

    assert names(tmp_path) == []


async def test_a_sweep_keeps_what_is_named_and_nothing_else(tmp_path: Path) -> None:
    for name in ("kept", "stray", "half.unfinished"):
        (tmp_path / name).write_bytes(b"")

    stray_count = Spool(tmp_path).remove_all_but({"kept", "of another host"})

    assert stray_count == 2
    assert names(tmp_path) == ["kept"]
