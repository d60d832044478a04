"""Many pictures of one size on one sheet."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def save_sheet(pictures: NDArray[np.uint8], *, columns: int, path: Path) -> None:
    """[N, height, width, 3] → one file, as its suffix says; N must fill the rows."""
    count, height, width, channels = pictures.shape
    rows = count // columns
    assert rows * columns == count
    grid = pictures.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    sheet = grid.reshape(rows * height, columns * width, channels)
    Image.fromarray(sheet).save(path, quality=80)
