"""One picture of the demo, as its receipt tells it."""

import re
from dataclasses import dataclass

_SLUG_LENGTH_MAX = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnImage:
    """What the receipt says, and where the picture goes."""

    # The resource's whole name.
    name: str
    tenant: str
    job: str
    image: str
    # Position in the job, from 1.
    number: int
    succeeded: bool
    # Why not; empty when it did.
    failure: str
    prompt: str
    seed: int
    # Of the engine.
    seconds: float
    energy_millijoules: int
    energy_source: str
    price_nanos: int
    currency: str
    attempt: int

    @property
    def file_name(self) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", self.prompt.lower())[:_SLUG_LENGTH_MAX].strip("-")
        return f"{self.number:02d}-{slug}.png"
