"""What a price version says: unit prices, multipliers, taxes, and the bounds that holds need."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from metering.errors import (
    ModelNotPricedError,
    PriceFeatureUnsupportedError,
    PriceInvalidError,
)
from metering.money import MILLIONTHS, NANOS_MAX

# A million units of the currency for one image: somebody mistook nanos for something else.
UNIT_PRICE_NANOS_MAX: Final = 10**15
TIERS_MAX: Final = 20
# More megapixel-steps than all images of a thousand years.
TIER_QUANTITY_MAX: Final = 10**15
MULTIPLIER_MILLIONTHS_MAX: Final = 100 * MILLIONTHS
# An hour of GPU, or 28 kWh, for one image or one megapixel-step.
BOUND_GPU_MILLISECONDS_MAX: Final = 3_600_000
BOUND_ENERGY_MILLIJOULES_MAX: Final = 10**11
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
# Numbers must be numbers and a member that is not known is a feature that would not be priced.
_PARSING: Final = ConfigDict(extra="forbid")


class Tier(StrEnum):
    """How urgently a job is wanted; each tier has its multiplier."""

    INTERACTIVE = "INTERACTIVE"
    BATCH = "BATCH"


class Component(StrEnum):
    """What a line of a price charges for."""

    PER_IMAGE = "PER_IMAGE"
    # A million pixels denoised by one step.
    PER_MEGAPIXEL_STEP = "PER_MEGAPIXEL_STEP"
    PER_GPU_SECOND = "PER_GPU_SECOND"
    PER_KWH = "PER_KWH"
    # In receipts only: takes a price down to what was held, the promise made at acceptance.
    CAP = "CAP"


class TierMode(StrEnum):
    """How tiers of quantity work."""

    # Each unit costs what its own tier says; charged as it is used.
    GRADUATED = "GRADUATED"
    # All units of a period cost what the tier of its last one says; settled at the period's end.
    VOLUME = "VOLUME"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier:
    """The price of one unit up to a quantity of the period, that one included."""

    __pydantic_config__: ClassVar[ConfigDict] = _PARSING

    up_to_quantity: int
    unit_price_nanos: int

    def __post_init__(self) -> None:
        is_positive = 0 < self.up_to_quantity <= TIER_QUANTITY_MAX
        _require("tiers", is_positive, f"must end between 1 and {TIER_QUANTITY_MAX}")
        _require_range("unit_price_nanos", self.unit_price_nanos, UNIT_PRICE_NANOS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceComponent:
    """A unit price before tax; ``model`` None is for every model that has none of its own.

    ``unit_price_nanos`` is the price of the tier that has no end; a flat price has no other. The
    tiers before it rise, each from where the last one ended, so there is no gap and no overlap.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _PARSING

    kind: Component
    model: str | None = None
    unit_price_nanos: int
    tier_mode: TierMode = TierMode.GRADUATED
    lower_tiers: tuple[PriceTier, ...] = ()

    def __post_init__(self) -> None:
        _require("components", self.kind is not Component.CAP, "CAP cannot be priced")
        _require_range("unit_price_nanos", self.unit_price_nanos, UNIT_PRICE_NANOS_MAX)
        ends = [tier.up_to_quantity for tier in self.lower_tiers]
        _require("components.tiers", len(ends) < TIERS_MAX, f"at most {TIERS_MAX}")
        rise = all(lower < upper for lower, upper in pairwise(ends))
        _require("components.tiers", rise, "each must end above the one before it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """A share of what a period costs above a threshold, taken off at its end, before tax."""

    __pydantic_config__: ClassVar[ConfigDict] = _PARSING

    display_name: str
    rate_millionths: int
    threshold_nanos: int = 0

    def __post_init__(self) -> None:
        _require("discounts.display_name", bool(self.display_name.strip()), "must be given")
        _require_range("discounts.rate_millionths", self.rate_millionths, MILLIONTHS)
        _require_range("discounts.threshold_nanos", self.threshold_nanos, NANOS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierMultiplier:
    """What unit prices are multiplied with for a tier; a tier without one has 1."""

    __pydantic_config__: ClassVar[ConfigDict] = _PARSING

    tier: Tier
    multiplier_millionths: int

    def __post_init__(self) -> None:
        _require_range(
            "multiplier_millionths", self.multiplier_millionths, MULTIPLIER_MILLIONTHS_MAX
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRate:
    """A tax on what a period costs; its name is printed and should tell the rate: ``VAT 19 %``."""

    __pydantic_config__: ClassVar[ConfigDict] = _PARSING

    display_name: str
    rate_millionths: int

    def __post_init__(self) -> None:
        _require("tax_rates.display_name", bool(self.display_name.strip()), "must be given")
        _require_range("rate_millionths", self.rate_millionths, MILLIONTHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingBound:
    """The most an image can consume: a fixed part and one for each megapixel-step.

    ``model`` None is for every model that has none of its own.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _PARSING

    model: str | None = None
    gpu_milliseconds_fixed: int = 0
    gpu_milliseconds_per_megapixel_step: int = 0
    energy_millijoules_fixed: int = 0
    energy_millijoules_per_megapixel_step: int = 0

    def __post_init__(self) -> None:
        for name in ("gpu_milliseconds_fixed", "gpu_milliseconds_per_megapixel_step"):
            _require_range(name, getattr(self, name), BOUND_GPU_MILLISECONDS_MAX)
        for name in ("energy_millijoules_fixed", "energy_millijoules_per_megapixel_step"):
            _require_range(name, getattr(self, name), BOUND_ENERGY_MILLIJOULES_MAX)

    def bounds(self, kind: Component) -> bool:
        """Whether it says anything about what a component counts."""
        if kind is Component.PER_GPU_SECOND:
            return self.gpu_milliseconds_fixed + self.gpu_milliseconds_per_megapixel_step > 0
        return self.energy_millijoules_fixed + self.energy_millijoules_per_megapixel_step > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceDocument:
    """A price, complete and immutable; an image's price is the sum of its components.

    Energy whose readings are missing in part is never charged by the kWh, estimated energy only
    where the price says so.

    Raises:
        PriceInvalidError: a member is out of its range, or the members contradict one another.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _PARSING

    currency: str
    components: tuple[PriceComponent, ...]
    tier_multipliers: tuple[TierMultiplier, ...] = ()
    tax_rates: tuple[TaxRate, ...] = ()
    ceiling_bounds: tuple[CeilingBound, ...] = ()
    charge_estimated_energy: bool = False
    display_name: str = ""
    # The least that a billing period costs, before tax.
    minimum_per_period_nanos: int = 0
    discounts: tuple[Discount, ...] = ()
    # What a kWh costs that the tenant's workers take while they hold a GPU and have nothing to do;
    # 0: the operator carries it.
    parked_kwh_price_nanos: int = 0

    def __post_init__(self) -> None:
        is_code = bool(_CURRENCY.fullmatch(self.currency))
        _require("currency", is_code, "must be an ISO 4217 code such as EUR")
        _require("components", bool(self.components), "a price has at least one")
        _require_unique("components", [(part.kind, part.model) for part in self.components])
        _require_unique("tier_multipliers", [part.tier for part in self.tier_multipliers])
        _require_unique("tax_rates", [tax.display_name for tax in self.tax_rates])
        _require_unique("discounts", [part.display_name for part in self.discounts])
        _require_range("minimum_per_period", self.minimum_per_period_nanos, NANOS_MAX)
        _require_range("parked_kwh_price_nanos", self.parked_kwh_price_nanos, UNIT_PRICE_NANOS_MAX)
        _require_unique("ceiling_bounds", [bound.model for bound in self.ceiling_bounds])
        self._require_bounds()

    def components_for(self, model: str) -> list[PriceComponent]:
        """Return what a model is charged: its own price of each kind, else the general one.

        Raises:
            ModelNotPricedError: there is neither; free has a unit price of 0.
        """
        general = {part.kind: part for part in self.components if part.model is None}
        own = {part.kind: part for part in self.components if part.model == model}
        if not general and not own:
            raise ModelNotPricedError(model)
        # In the order of the kinds, so that receipts read alike.
        return [(general | own)[kind] for kind in Component if kind in general | own]

    @property
    def has_tiers(self) -> bool:
        """Whether an image's price depends on what was used before it."""
        return any(part.lower_tiers for part in self.components)

    def component_of(self, kind: Component, model: str) -> PriceComponent | None:
        """Return what a model is charged of one kind, if anything."""
        of_kind = {part.model: part for part in self.components if part.kind is kind}
        return of_kind.get(model) or of_kind.get(None)

    def multiplier_millionths(self, tier: Tier) -> int:
        """Return what unit prices are multiplied with for a tier."""
        named = {part.tier: part.multiplier_millionths for part in self.tier_multipliers}
        return named.get(tier, MILLIONTHS)

    def bound_for(self, model: str | None) -> CeilingBound:
        """Return a model's own bound, else the general one, else one that says nothing."""
        bounds = {bound.model: bound for bound in self.ceiling_bounds}
        return bounds.get(model) or bounds.get(None) or CeilingBound()

    def _require_bounds(self) -> None:
        """What cannot be known beforehand needs a bound, or no ceiling could be held."""
        unknown = {Component.PER_GPU_SECOND, Component.PER_KWH}
        for part in self.components:
            if part.kind not in unknown:
                continue
            # A general component also prices the models that have bounds of their own.
            models = {part.model} if part.model else {None, *(b.model for b in self.ceiling_bounds)}
            for model in models:
                is_bound = self.bound_for(model).bounds(part.kind)
                whose = model or "every model"
                _require("ceiling_bounds", is_bound, f"{part.kind} has no bound for {whose}")


_ADAPTER: Final = TypeAdapter(PriceDocument)


def to_canonical_json(document: PriceDocument) -> str:
    """Write a document so that equal documents give equal bytes, for hashing and storing.

    Every member is written, so that a later default cannot change what an old price meant.
    """
    members: object = _ADAPTER.dump_python(document, mode="json")
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str) -> PriceDocument:
    """Read a document.

    Raises:
        PriceFeatureUnsupportedError: it has a member that would not be priced.
        PriceInvalidError: a member is missing, of another type or out of its range.
    """
    try:
        # Strict: 1.0 is no whole number, "1" is none either, and money is never a float.
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise _worded(error) from error


def _worded(error: ValidationError) -> PriceInvalidError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return PriceFeatureUnsupportedError(field, "prices with it are not supported")
    return PriceInvalidError(field, first["msg"])


def _require(field: str, holds: bool, description: str) -> None:  # noqa: FBT001 - a condition, no flag
    if not holds:
        raise PriceInvalidError(field, description)


def _require_range(field: str, value: int, maximum: int) -> None:
    _require(field, 0 <= value <= maximum, f"must be between 0 and {maximum}, is {value}")


def _require_unique(field: str, keys: Iterable[object]) -> None:
    twice = [key for key, count in Counter(keys).items() if count > 1]
    _require(field, not twice, f"named twice: {', '.join(map(str, twice))}")
