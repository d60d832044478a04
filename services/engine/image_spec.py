"""What decides a picture, and the name of one try at it."""

from dataclasses import dataclass
from typing import NamedTuple


class AttemptKey(NamedTuple):
    """One try at one image; what work and joules are booked on."""

    image_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """All that decides a picture; the knobs have diffusers' names and meaning.

    The same spec gives the same picture, alone or in any company (float rounding apart).
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    max_sequence_length: int
    """Tokens of the T5 encoder; the two CLIP encoders always take 77."""

    @property
    def is_guided(self) -> bool:
        """Whether every step needs a second forward for the negative prompt (diffusers' rule)."""
        return self.guidance_scale > 1.0


class CompatibilityKey(NamedTuple):
    """Images with the same key can share a forward; an engine has one model, so that is implied."""

    height: int
    width: int
    max_sequence_length: int
    is_guided: bool


def compatibility_key(spec: ImageSpec) -> CompatibilityKey:
    """What the images of one step must have in common."""
    return CompatibilityKey(spec.height, spec.width, spec.max_sequence_length, spec.is_guided)
