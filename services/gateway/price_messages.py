"""Price versions between the contract and the price book: what contradicts itself is refused."""

from atelier.v1 import image_pb2, price_pb2
from metering.errors import PriceInvalidError
from metering.price_book import PriceVersion
from metering.price_document import (
    CeilingBound,
    Component,
    Discount,
    PriceComponent,
    PriceDocument,
    PriceTier,
    TaxRate,
    Tier,
    TierMode,
    TierMultiplier,
)
from services.gateway import resource_names
from services.gateway.conversions import enum_number, enum_text, to_money, to_timestamp
from services.gateway.errors import invalid_field

_ROOT = "price_version"


def price_document(wanted: price_pb2.PriceVersion) -> PriceDocument:
    """Read what a price version says.

    Raises:
        CallRefusedError: FIELD_VIOLATION for what contradicts itself.
    """
    minimum = wanted.minimum_per_period
    if minimum.nanos and minimum.currency_code != wanted.currency_code:
        raise invalid_field(
            f"{_ROOT}.minimum_per_period.currency_code", f"must be {wanted.currency_code}"
        )
    try:
        return _document(wanted)
    except PriceInvalidError as error:
        field = error.field.replace("currency", "currency_code")
        raise invalid_field(f"{_ROOT}.{field}" if field else _ROOT, error.description) from error


def price_message(version: PriceVersion) -> price_pb2.PriceVersion:
    """Write a price version."""
    document = version.document
    return price_pb2.PriceVersion(
        name=resource_names.PRICE_VERSION.write(version.price_id),
        price_book=version.price_book,
        currency_code=version.currency,
        effective_time=to_timestamp(version.effective_time),
        components=[_component_message(part) for part in document.components],
        tier_multipliers=[
            price_pb2.TierMultiplier(
                tier=enum_number(image_pb2.Tier, part.tier),
                multiplier_millionths=part.multiplier_millionths,
            )
            for part in document.tier_multipliers
        ],
        tax_rates=[
            price_pb2.TaxRate(display_name=tax.display_name, rate_millionths=tax.rate_millionths)
            for tax in document.tax_rates
        ],
        ceiling_bounds=[_bound_message(bound) for bound in document.ceiling_bounds],
        charge_estimated_energy=document.charge_estimated_energy,
        parked_kwh_price_nanos=document.parked_kwh_price_nanos,
        display_name=document.display_name,
        minimum_per_period=to_money(document.minimum_per_period_nanos, document.currency)
        if document.minimum_per_period_nanos
        else None,
        discounts=[
            price_pb2.Discount(
                display_name=part.display_name,
                rate_millionths=part.rate_millionths,
                threshold_nanos=part.threshold_nanos,
            )
            for part in document.discounts
        ],
        sha256=version.document_sha256.hex(),
        create_time=to_timestamp(version.create_time),
    )


def _document(wanted: price_pb2.PriceVersion) -> PriceDocument:
    return PriceDocument(
        currency=wanted.currency_code,
        components=tuple(_component(part) for part in wanted.components),
        tier_multipliers=tuple(
            TierMultiplier(
                tier=Tier(enum_text(image_pb2.Tier, part.tier)),
                multiplier_millionths=part.multiplier_millionths,
            )
            for part in wanted.tier_multipliers
        ),
        tax_rates=tuple(
            TaxRate(display_name=tax.display_name, rate_millionths=tax.rate_millionths)
            for tax in wanted.tax_rates
        ),
        ceiling_bounds=tuple(_bound(bound) for bound in wanted.ceiling_bounds),
        charge_estimated_energy=wanted.charge_estimated_energy,
        parked_kwh_price_nanos=wanted.parked_kwh_price_nanos,
        display_name=wanted.display_name,
        minimum_per_period_nanos=wanted.minimum_per_period.nanos,
        discounts=tuple(
            Discount(
                display_name=part.display_name,
                rate_millionths=part.rate_millionths,
                threshold_nanos=part.threshold_nanos,
            )
            for part in wanted.discounts
        ),
    )


def _component(part: price_pb2.PriceComponent) -> PriceComponent:
    *lower, last = part.tiers
    if last.up_to_quantity:
        raise PriceInvalidError("components.tiers", "the tier without end must come last")
    return PriceComponent(
        kind=Component(enum_text(price_pb2.PriceComponentKind, part.kind)),
        model=_model_id(part.model),
        unit_price_nanos=last.unit_price_nanos,
        tier_mode=TierMode(enum_text(price_pb2.TierMode, part.tier_mode) or TierMode.GRADUATED),
        lower_tiers=tuple(
            PriceTier(up_to_quantity=tier.up_to_quantity, unit_price_nanos=tier.unit_price_nanos)
            for tier in lower
        ),
    )


def _bound(bound: price_pb2.CeilingBound) -> CeilingBound:
    return CeilingBound(
        model=_model_id(bound.model),
        gpu_milliseconds_fixed=bound.gpu_milliseconds_fixed,
        gpu_milliseconds_per_megapixel_step=bound.gpu_milliseconds_per_megapixel_step,
        energy_millijoules_fixed=bound.energy_millijoules_fixed,
        energy_millijoules_per_megapixel_step=bound.energy_millijoules_per_megapixel_step,
    )


def _component_message(part: PriceComponent) -> price_pb2.PriceComponent:
    return price_pb2.PriceComponent(
        kind=enum_number(price_pb2.PriceComponentKind, part.kind),
        model=_model_name(part.model),
        tier_mode=enum_number(price_pb2.TierMode, part.tier_mode),
        tiers=[
            *(
                price_pb2.PriceTier(
                    up_to_quantity=tier.up_to_quantity, unit_price_nanos=tier.unit_price_nanos
                )
                for tier in part.lower_tiers
            ),
            price_pb2.PriceTier(unit_price_nanos=part.unit_price_nanos),
        ],
    )


def _bound_message(bound: CeilingBound) -> price_pb2.CeilingBound:
    return price_pb2.CeilingBound(
        model=_model_name(bound.model),
        gpu_milliseconds_fixed=bound.gpu_milliseconds_fixed,
        gpu_milliseconds_per_megapixel_step=bound.gpu_milliseconds_per_megapixel_step,
        energy_millijoules_fixed=bound.energy_millijoules_fixed,
        energy_millijoules_per_megapixel_step=bound.energy_millijoules_per_megapixel_step,
    )


def _model_id(name: str) -> str | None:
    parsed = resource_names.MODEL.parse(name)
    return parsed[0] if parsed else None


def _model_name(model_id: str | None) -> str:
    return resource_names.MODEL.write(model_id) if model_id else ""
