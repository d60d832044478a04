"""Price documents: what is refused, and that writing and reading gives the same price."""

import json

import pytest
from hypothesis import given

from metering.errors import PriceFeatureUnsupportedError, PriceInvalidError
from metering.price_document import (
    CeilingBound,
    Component,
    PriceComponent,
    PriceDocument,
    PriceTier,
    TaxRate,
    Tier,
    TierMultiplier,
    from_json,
    to_canonical_json,
)
from tests.unit.metering.strategies import PRICES

PER_IMAGE = PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=4_000_000)


@given(PRICES)
def test_a_price_reads_back_as_it_was_written(price: PriceDocument) -> None:
    assert from_json(to_canonical_json(price)) == price


def test_the_canonical_form_is_one_line_with_every_member() -> None:
    price = PriceDocument(currency="EUR", components=(PER_IMAGE,))

    assert to_canonical_json(price) == (
        '{"ceiling_bounds":[],"charge_estimated_energy":false,"components":[{"kind":"PER_IMAGE",'
        '"lower_tiers":[],"model":null,"tier_mode":"GRADUATED","unit_price_nanos":4000000}],'
        '"currency":"EUR","discounts":[],"display_name":"","minimum_per_period_nanos":0,'
        '"parked_kwh_price_nanos":0,"tax_rates":[],"tier_multipliers":[]}'
    )


@pytest.mark.parametrize("member", ["tiers", "minimum_per_period", "setup_fee", "Currency"])
def test_what_would_not_be_priced_is_refused_by_name(member: str) -> None:
    members: dict[str, object] = {"currency": "EUR", "components": [], member: 1}

    with pytest.raises(PriceFeatureUnsupportedError) as caught:
        from_json(json.dumps(members))
    assert caught.value.field == member


def test_a_price_of_before_there_were_tiers_means_what_it_meant() -> None:
    price = from_json(
        '{"ceiling_bounds":[],"charge_estimated_energy":false,"components":[{"kind":"PER_IMAGE",'
        '"model":null,"unit_price_nanos":4000000}],"currency":"EUR","display_name":"",'
        '"tax_rates":[],"tier_multipliers":[]}'
    )

    assert price == PriceDocument(currency="EUR", components=(PER_IMAGE,))


@pytest.mark.parametrize("ends", [(10, 10), (20, 10), (0, 10), (-1,)])
def test_tiers_that_overlap_or_end_nowhere_are_refused(ends: tuple[int, ...]) -> None:
    with pytest.raises(PriceInvalidError):
        PriceComponent(
            kind=Component.PER_IMAGE,
            unit_price_nanos=1,
            lower_tiers=tuple(PriceTier(up_to_quantity=end, unit_price_nanos=2) for end in ends),
        )


def test_tiers_inside_a_component_are_refused_by_name() -> None:
    component: dict[str, object] = {"kind": "PER_IMAGE", "unit_price_nanos": 1, "tiers": []}

    with pytest.raises(PriceFeatureUnsupportedError) as caught:
        from_json(json.dumps({"currency": "EUR", "components": [component]}))
    assert caught.value.field == "components.0.tiers"


@pytest.mark.parametrize(
    ("unit_price", "field"),
    [
        (-1, "unit_price_nanos"),
        (10**15 + 1, "unit_price_nanos"),
        (10**30, "unit_price_nanos"),
        (1.0, "components.0.unit_price_nanos"),
        ("1", "components.0.unit_price_nanos"),
        (True, "components.0.unit_price_nanos"),
        (None, "components.0.unit_price_nanos"),
    ],
)
def test_a_unit_price_is_a_whole_number_in_range(unit_price: object, field: str) -> None:
    component = {"kind": "PER_IMAGE", "unit_price_nanos": unit_price}

    with pytest.raises(PriceInvalidError) as caught:
        from_json(json.dumps({"currency": "EUR", "components": [component]}))
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"components": []}', '{"currency": 7}'])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(PriceInvalidError):
        from_json(text)


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "E R"])
def test_a_currency_is_an_iso_code(currency: str) -> None:
    with pytest.raises(PriceInvalidError, match="currency"):
        PriceDocument(currency=currency, components=(PER_IMAGE,))


def test_a_price_without_components_is_refused() -> None:
    with pytest.raises(PriceInvalidError, match="components"):
        PriceDocument(currency="EUR", components=())


def test_a_cap_cannot_be_priced() -> None:
    with pytest.raises(PriceInvalidError, match="CAP"):
        PriceComponent(kind=Component.CAP, unit_price_nanos=1)


def test_the_same_component_twice_is_refused() -> None:
    with pytest.raises(PriceInvalidError, match="named twice"):
        PriceDocument(currency="EUR", components=(PER_IMAGE, PER_IMAGE))


def test_the_same_tier_twice_is_refused() -> None:
    part = TierMultiplier(tier=Tier.BATCH, multiplier_millionths=1)

    with pytest.raises(PriceInvalidError, match="named twice"):
        PriceDocument(currency="EUR", components=(PER_IMAGE,), tier_multipliers=(part, part))


@pytest.mark.parametrize("kind", [Component.PER_GPU_SECOND, Component.PER_KWH])
def test_what_cannot_be_known_beforehand_needs_a_bound(kind: Component) -> None:
    component = PriceComponent(kind=kind, unit_price_nanos=1)

    with pytest.raises(PriceInvalidError, match="ceiling_bounds"):
        PriceDocument(currency="EUR", components=(component,))


def test_a_models_own_bound_must_bound_what_the_general_price_charges() -> None:
    component = PriceComponent(kind=Component.PER_KWH, unit_price_nanos=1)
    general = CeilingBound(energy_millijoules_fixed=1)
    own = CeilingBound(model="sd35-medium", gpu_milliseconds_fixed=1)

    with pytest.raises(PriceInvalidError, match="sd35-medium"):
        PriceDocument(currency="EUR", components=(component,), ceiling_bounds=(general, own))


@pytest.mark.parametrize("rate_millionths", [-1, 1_000_001])
def test_a_tax_rate_is_between_nothing_and_all(rate_millionths: int) -> None:
    with pytest.raises(PriceInvalidError, match="rate_millionths"):
        TaxRate(display_name="VAT", rate_millionths=rate_millionths)


def test_a_tax_has_a_name() -> None:
    with pytest.raises(PriceInvalidError, match="display_name"):
        TaxRate(display_name=" ", rate_millionths=1)


def test_a_multiplier_beyond_its_range_is_refused() -> None:
    with pytest.raises(PriceInvalidError, match="multiplier_millionths"):
        TierMultiplier(tier=Tier.BATCH, multiplier_millionths=100_000_001)


@pytest.mark.parametrize("milliseconds", [-1, 3_600_001])
def test_a_bound_beyond_its_range_is_refused(milliseconds: int) -> None:
    with pytest.raises(PriceInvalidError, match="gpu_milliseconds_fixed"):
        CeilingBound(gpu_milliseconds_fixed=milliseconds)
