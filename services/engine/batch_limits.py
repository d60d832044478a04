"""How many images a step may hold: the memory plan's word, until the device itself says less."""

from typing import Protocol

import torch

from services.engine.image_spec import CompatibilityKey


class Plan(Protocol):
    """As far as limits need it."""

    def images_max(self, key: CompatibilityKey) -> int: ...


class BatchLimits:
    """Limits by compatibility key; without a plan there is none until memory runs out."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._plan = plan
        self._learned: dict[CompatibilityKey, int] = {}
        self.out_of_memory_count = 0

    def images_max(self, key: CompatibilityKey) -> int | None:
        """None: as many as there are slots; 0: not even one fits."""
        planned = None if self._plan is None else self._plan.images_max(key)
        learned = self._learned.get(key)
        known = [limit for limit in (planned, learned) if limit is not None]
        return min(known, default=None)

    def note_out_of_memory(self, key: CompatibilityKey, *, images: int) -> None:
        """A step of that many ran out of memory: from now on half as many share one."""
        self.out_of_memory_count += 1
        self._learned[key] = max(1, images // 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the CPU's allocator, had no memory left."""
    # torch's CPU allocator raises a plain RuntimeError that only its text tells apart.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
