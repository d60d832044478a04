"""What the operator itself pays: a document that becomes a price, so that `rate` tells both."""

import json
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import ConfigDict, TypeAdapter

from metering.errors import PriceInvalidError
from metering.money import MILLIONTHS, divide_half_even
from metering.price_document import (
    UNIT_PRICE_NANOS_MAX,
    CeilingBound,
    Component,
    PriceComponent,
    PriceDocument,
)

# Nothing is ever held at cost; a price of seconds and energy must name bounds all the same.
_BOUND: Final = CeilingBound(gpu_milliseconds_fixed=1, energy_millijoules_fixed=1)
# A GPU that delivers for a hundredth of its time is no business; and 100 % would have no price.
IDLE_SHARE_MILLIONTHS_MAX: Final = 990_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CostDocument:
    """What a second of GPU and a kWh cost the operator; complete and immutable.

    ``idle_share_millionths`` is the share of the GPU time paid for that delivers no picture: idle,
    loading, attempts that came to nothing. The seconds that deliver carry it.

    Raises:
        PriceInvalidError: a member is out of its range.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    currency: str
    gpu_second_nanos: int
    kwh_nanos: int
    idle_share_millionths: int = 0
    display_name: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.idle_share_millionths <= IDLE_SHARE_MILLIONTHS_MAX:
            raise PriceInvalidError(
                "idle_share_millionths", f"must be between 0 and {IDLE_SHARE_MILLIONTHS_MAX}"
            )
        for name in ("gpu_second_nanos", "kwh_nanos"):
            if not 0 <= getattr(self, name) <= UNIT_PRICE_NANOS_MAX:
                raise PriceInvalidError(name, f"must be between 0 and {UNIT_PRICE_NANOS_MAX}")
        if self.loaded_gpu_second_nanos > UNIT_PRICE_NANOS_MAX:
            raise PriceInvalidError("idle_share_millionths", "makes a second cost too much")

    @property
    def loaded_gpu_second_nanos(self) -> int:
        """A second that delivers, with its part of those that do not; rounded once."""
        return divide_half_even(
            self.gpu_second_nanos * MILLIONTHS, MILLIONTHS - self.idle_share_millionths
        )

    def as_price(self) -> PriceDocument:
        """The price by which ``rate`` tells what an image cost the operator.

        Estimated energy counts: the bill of the power company does not ask how it was read.
        """
        return PriceDocument(
            currency=self.currency,
            components=(
                PriceComponent(
                    kind=Component.PER_GPU_SECOND, unit_price_nanos=self.loaded_gpu_second_nanos
                ),
                PriceComponent(kind=Component.PER_KWH, unit_price_nanos=self.kwh_nanos),
            ),
            ceiling_bounds=(_BOUND,),
            charge_estimated_energy=True,
        )


_ADAPTER: Final = TypeAdapter(CostDocument)


def cost_to_json(document: CostDocument) -> str:
    """Write a document so that equal documents give equal bytes, for hashing and storing."""
    members: object = _ADAPTER.dump_python(document, mode="json")
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def cost_from_json(text: str) -> CostDocument:
    """Read a document that was stored."""
    return _ADAPTER.validate_json(text, strict=True)
