"""With which arithmetic the transformer's matrix products run, and which suits which device."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.engine.errors import ModelLoadError


class Backend(StrEnum):
    """How the weights of the large linears are kept and multiplied."""

    NONE = "none"
    """In the model's own type: bf16 on a GPU, fp32 on the CPU."""
    SCALED_MM = "scaled_mm"
    """FP8 times FP8 by torch, a scale per row of the activations and per output channel."""
    TRANSFORMER_ENGINE = "transformer_engine"
    """FP8 times FP8 by NVIDIA's transformer-engine."""
    WEIGHT_STORAGE = "weight_storage"
    """FP8 is how weights are kept; the arithmetic is the model's own."""


AUTO: Final = "auto"
# FP8 tensor cores came with compute capability 8.9; before that FP8 is a way to keep weights.
FP8_CAPABILITY: Final = (8, 9)
# transformer-engine's block scaling is built for Hopper and newer.
BLOCK_SCALING_CAPABILITY: Final = (9, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeCapability:
    """What a GPU can do, as NVIDIA counts it: 9.0 is Hopper. None of it on a CPU."""

    major: int
    minor: int

    @property
    def has_fp8(self) -> bool:
        return (self.major, self.minor) >= FP8_CAPABILITY


def choose_backend(
    wish: str, *, capability: ComputeCapability | None, has_transformer_engine: bool
) -> Backend:
    """Resolve a backend by its name, or "auto" by the kind of device.

    `capability` is None on the CPU, where `scaled_mm` and `weight_storage` work too (slowly, for
    tests) and "auto" keeps the model's own type.

    Raises:
        ModelLoadError: the name is unknown, or the device or the installation lacks what it needs.
    """
    if wish == AUTO:
        return _backend_for(capability)
    try:
        backend = Backend(wish)
    except ValueError:
        names = ", ".join((AUTO, *Backend))
        raise ModelLoadError(f"there is no backend {wish!r}: set one of {names}") from None
    if backend is Backend.SCALED_MM and capability is not None and not capability.has_fp8:
        raise ModelLoadError(
            f"this GPU (compute capability {capability.major}.{capability.minor}) has no FP8"
            " arithmetic, which begins at 8.9: set the backend weight_storage or none"
        )
    if backend is Backend.TRANSFORMER_ENGINE:
        _demand_transformer_engine(capability, has_transformer_engine=has_transformer_engine)
    return backend


def _backend_for(capability: ComputeCapability | None) -> Backend:
    """The policy: docs/performance.md holds the measurements behind it."""
    if capability is None:
        return Backend.NONE
    return Backend.SCALED_MM if capability.has_fp8 else Backend.WEIGHT_STORAGE


def _demand_transformer_engine(
    capability: ComputeCapability | None, *, has_transformer_engine: bool
) -> None:
    if capability is None or not capability.has_fp8:
        raise ModelLoadError(
            "transformer_engine needs a GPU of compute capability 8.9 or newer:"
            " set the backend auto, weight_storage or none"
        )
    if not has_transformer_engine:
        raise ModelLoadError(
            "the backend transformer_engine is set but the package is not installed:"
            " install atelier-servers[worker-gpu], or set the backend scaled_mm"
        )
