"""What an image's submitter gets: progress while it is drawn, and the picture."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.engine.image_spec import AttemptKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one image has come."""

    key: AttemptKey
    step: int
    """Steps done; 0 is told when the first one begins."""
    num_inference_steps: int
    preview: NDArray[np.uint8] | None = field(default=None, repr=False)
    """[height / 8, width / 8, 3]; only for who asked, at most twice a second."""


# Called from the engine thread when the first step begins and after every step; must not block.
ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One picture and what its drawing took."""

    pixels: NDArray[np.uint8] = field(repr=False)
    """[height, width, 3], sRGB."""
    batch_sizes: tuple[int, ...]
    """Images that shared each of its steps, itself included; one number per step."""
    gpu_seconds: float
    """Its part, by work, of the seconds of every step it shared, its encoding and decoding."""
    queue_seconds: float
    """From submission until it was admitted."""
    began_step: bool
    last_mark_number: int
    """When the energy up to this mark is known, all of this image's is."""
