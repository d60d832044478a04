"""Is it the picture that was asked for? A worker draws strangers' prompts and may lie.

The bytes are decoded as the one format that is expected, under a cap of pixels, so that no other
decoder of the library ever sees them.
"""

from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from services.jobs.picture_store import ExpectedPicture
from services.recorder.errors import PictureRefusedError

_CONTENT_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def content_type_of(output_format: str) -> str:
    """Return the media type of an output format."""
    return _CONTENT_TYPES[output_format]


def check_picture(path: Path, expected: ExpectedPicture, *, pixels_max: int) -> None:
    """Decode the whole picture and compare it with what was asked for; takes CPU time.

    Raises:
        PictureRefusedError: it is something else.
    """
    if expected.width * expected.height > pixels_max:
        raise PictureRefusedError(f"more than {pixels_max} pixels")
    try:
        # Opening reads the header alone; the pixels are decoded once the size is the right one.
        with Image.open(path, formats=[expected.output_format]) as picture:
            if picture.size != (expected.width, expected.height):
                raise PictureRefusedError(
                    f"{picture.width}×{picture.height} pixels were sent, "
                    f"{expected.width}×{expected.height} were asked for"
                )
            picture.load()
    except (
        UnidentifiedImageError,
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise PictureRefusedError(f"not a whole {expected.output_format} picture") from error
