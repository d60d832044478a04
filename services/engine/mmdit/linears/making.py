"""One linear layer in the arithmetic that was chosen."""

from typing import Protocol

import torch

from services.engine.mmdit.backends import Backend
from services.engine.mmdit.linears.packed import PackedLinear, can_be_packed
from services.engine.mmdit.linears.plain import PlainLinear
from services.engine.mmdit.linears.scaled_mm import ScaledMmLinear
from services.engine.mmdit.linears.transformer_engine import Recipe, TransformerEngineLinear
from services.engine.mmdit.linears.weight_storage import WeightStorageLinear
from services.engine.mmdit.quantised_rows import QuantisedRows


class Linear(Protocol):
    """x · weightᵀ + bias; rows may come quantised where `takes_quantised_rows` says so."""

    @property
    def takes_quantised_rows(self) -> bool: ...

    def __call__(self, rows: torch.Tensor | QuantisedRows) -> torch.Tensor:
        """[rows, inputs] → [rows, outputs], in the model's own type."""
        ...

    @property
    def resident_bytes(self) -> int: ...


class LinearMaker:
    """Makes the linears of one model, all alike."""

    def __init__(self, backend: Backend, *, recipe: Recipe = Recipe.CURRENT) -> None:
        self.backend = backend
        self._recipe = recipe

    @property
    def quantises_rows(self) -> bool:
        """Whether its linears take their rows quantised."""
        return self.backend is Backend.SCALED_MM

    def make(self, weight: torch.Tensor, bias: torch.Tensor) -> Linear:
        """Weight [outputs, inputs] and bias [outputs], already on their device."""
        match self.backend:
            case Backend.NONE:
                packed = can_be_packed(weight)
                return PackedLinear(weight, bias) if packed else PlainLinear(weight, bias)
            case Backend.SCALED_MM:
                return ScaledMmLinear(weight, bias)
            case Backend.WEIGHT_STORAGE:
                return WeightStorageLinear(weight, bias)
            case Backend.TRANSFORMER_ENGINE:
                return TransformerEngineLinear(weight, bias, recipe=self._recipe)
