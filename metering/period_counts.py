"""How much of what a tenant has consumed in a billing period: facts, whatever their price."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from metering.price_document import Component, PriceComponent, PriceDocument

CountKey = tuple[Component, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodCounts:
    """Quantities by component and model, in the whole numbers they are counted in."""

    counts: Mapping[tuple[Component, str], int] = field(
        default_factory=dict[tuple[Component, str], int]
    )

    def of(self, price: PriceDocument, part: PriceComponent) -> int:
        """Sum what a component of a price counts: its model, or all that have no own one."""
        return sum(
            count
            for (kind, model), count in self.counts.items()
            if kind is part.kind and price.component_of(kind, model) is part
        )

    def after(self, model: str, consumed: Mapping[Component, int]) -> "PeriodCounts":
        """Return what is counted when an image of a model has consumed more."""
        counts = dict(self.counts)
        for kind, count in consumed.items():
            counts[kind, model] = counts.get((kind, model), 0) + count
        return PeriodCounts(counts=counts)


NOTHING_COUNTED: Final = PeriodCounts()
