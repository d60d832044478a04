"""Which devices this host has: those the operator named, else those the meter found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class GpuKind(StrEnum):
    """What draws."""

    NVIDIA = "NVIDIA"
    # A share of the host's processor.
    PROCESSOR = "PROCESSOR"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """What a GPU's sensors said; None where it has no such sensor."""

    temperature_celsius: float | None
    power_watts: float | None
    memory_used_bytes: int | None
    utilization: float | None
    clock_megahertz: int | None
    throttle_reasons: tuple[str, ...]
    sample_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One device of this host."""

    gpu_id: str
    kind: GpuKind
    # What CUDA_VISIBLE_DEVICES takes; empty for a processor, and while only its id is known.
    device_uuid: str = ""
    display_name: str = ""
    memory_bytes: int = 0
    # None when no sensor answered just now.
    sample: GpuSample | None = None

    @property
    def can_draw(self) -> bool:
        """Whether a worker can be told which device to take: an NVIDIA card needs its name."""
        return self.kind is GpuKind.PROCESSOR or bool(self.device_uuid)


class Inventory:
    """The devices as they are known now."""

    def __init__(self, *, configured_ids: Sequence[str]) -> None:
        self._configured_ids = tuple(configured_ids)
        self._known: dict[str, Gpu] = {gpu_id: _named(gpu_id) for gpu_id in configured_ids}

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(self._known.values())

    def take(self, gpus: Iterable[Gpu]) -> None:
        """Believe the meter, or what an earlier fleet had learnt from it.

        A card that is no longer told of has fallen off the bus, or was split: it is gone until it
        is back. One that the operator named stays in the list, and nobody can draw on it.
        """
        told = {gpu.gpu_id: gpu for gpu in gpus}
        if self._configured_ids:
            self._known = {
                gpu_id: told.get(gpu_id) or _named(gpu_id) for gpu_id in self._configured_ids
            }
        elif told:
            self._known = told

    def forget_samples(self) -> None:
        """Nobody reads the sensors now: what they said before is not what they say."""
        self._known = {gpu_id: replace(gpu, sample=None) for gpu_id, gpu in self._known.items()}


def _named(gpu_id: str) -> Gpu:
    kind = GpuKind.NVIDIA if gpu_id.startswith("gpu-") else GpuKind.PROCESSOR
    return Gpu(gpu_id=gpu_id, kind=kind)
