"""From pixels to a file's bytes; no prompt and nothing else of the tenant's is written into it."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPicture:
    """A picture as a file."""

    content: bytes
    content_type: str


# PNG: the picture's way out should not wait for zlib's last per cent.
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "PNG": {"compress_level": 3},
    "JPEG": {"subsampling": 0},
    "WEBP": {},
}


def encode(pixels: NDArray[np.uint8], *, output_format: str, output_quality: int) -> EncodedPicture:
    """Encode RGB pixels of shape (height, width, 3); quality 1 to 100 means nothing to PNG."""
    options = dict(_OPTIONS[output_format])
    if output_format != "PNG":
        options["quality"] = output_quality
    file = BytesIO()
    Image.fromarray(pixels).save(file, format=output_format, **options)
    return EncodedPicture(content=file.getvalue(), content_type=f"image/{output_format.lower()}")
