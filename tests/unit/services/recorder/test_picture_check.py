from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from services.jobs.picture_store import ExpectedPicture
from services.recorder.errors import PictureRefusedError
from services.recorder.picture_check import check_picture, content_type_of
from tenants.ids import GpuId, SessionId

PIXELS_MAX = 128 * 128


def picture_file(
    path: Path, *, width: int = 64, height: int = 48, file_format: str = "PNG"
) -> Path:
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(path, format=file_format)
    return path


def expected(output_format: str = "PNG") -> ExpectedPicture:
    return ExpectedPicture(
        width=64,
        height=48,
        output_format=output_format,
        session_id=SessionId("s"),
        gpu_id=GpuId("gpu-0"),
        seconds_since_claim=1.0,
    )


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_of_the_format_and_size_asked_for_passes(
    tmp_path: Path, file_format: str
) -> None:
    path = picture_file(tmp_path / "picture", file_format=file_format)

    check_picture(path, expected(file_format), pixels_max=PIXELS_MAX)

    assert content_type_of(file_format) == f"image/{file_format.lower()}"


@pytest.mark.parametrize(("width", "height"), [(48, 64), (64, 64), (1, 1)])
def test_a_picture_of_another_size_is_refused(tmp_path: Path, width: int, height: int) -> None:
    path = picture_file(tmp_path / "picture", width=width, height=height)

    with pytest.raises(PictureRefusedError, match="were asked for"):
        check_picture(path, expected(), pixels_max=PIXELS_MAX)


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_picture_of_another_format_is_refused(tmp_path: Path, file_format: str) -> None:
    path = picture_file(tmp_path / "picture", file_format=file_format)

    with pytest.raises(PictureRefusedError, match="not a whole PNG"):
        check_picture(path, expected(), pixels_max=PIXELS_MAX)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5])
def test_part_of_a_picture_is_refused(tmp_path: Path, kept: float) -> None:
    path = picture_file(tmp_path / "picture")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])

    with pytest.raises(PictureRefusedError):
        check_picture(path, expected(), pixels_max=PIXELS_MAX)


def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, format="PNG")
    path = tmp_path / "picture"
    path.write_bytes(buffer.getvalue())

    with pytest.raises(PictureRefusedError):
        check_picture(path, expected(), pixels_max=PIXELS_MAX)
