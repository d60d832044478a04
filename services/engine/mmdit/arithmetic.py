"""How a transformer computes: what a worker's settings and its device decide together."""

from dataclasses import dataclass
from enum import StrEnum

from services.engine.mmdit.attention import AttentionKernel
from services.engine.mmdit.backends import Backend
from services.engine.mmdit.linears.transformer_engine import Recipe


class ModulationPlace(StrEnum):
    """Where the modulation weights wait between images."""

    RESIDENT = "resident"
    """On the device: 5.4 GB for Large."""
    OFFLOADED = "offloaded"
    """In the host's memory; each image that begins waits until they have passed by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """The defaults are plain torch in the model's own type, which runs everywhere."""

    backend: Backend = Backend.NONE
    recipe: Recipe = Recipe.CURRENT
    attention_kernel: AttentionKernel = AttentionKernel.TORCH
    modulation: ModulationPlace = ModulationPlace.RESIDENT
