"""The same facts priced twice: exact, and silent about a margin whose cost is not known."""

from datetime import UTC, date, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.cost_book import CostBook, CostVersion
from metering.cost_document import CostDocument, cost_from_json, cost_to_json
from metering.energy_source import EnergySource
from metering.errors import PriceInvalidError
from metering.margins import Margin, MarginDimension, MarginReport, SoldImage
from metering.price_document import Tier
from tenants.ids import CostId, ImageId, JobId, TenantId

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
# 0.0015 of a EUR for a second of GPU, 0.15 for a kWh; a quarter of the time delivers nothing.
COSTS = CostDocument(
    currency="EUR", gpu_second_nanos=1_500_000, kwh_nanos=150_000_000, idle_share_millionths=250_000
)


def version(document: CostDocument = COSTS, effective_time: datetime = NOON) -> CostVersion:
    return CostVersion(
        cost_id=CostId(f"{document.currency}-{effective_time}"),
        effective_time=effective_time,
        document=document,
        document_sha256=b"",
        create_time=NOON,
    )


def sold(
    image_id: str = "i1",
    *,
    tenant_id: str = "acme",
    currency: str = "EUR",
    price_nanos: int = 20_000_000,
    gpu_seconds: float = 5.0,
    energy_millijoules: int = 3_600_000,
    energy_source: EnergySource = EnergySource.NVML_COUNTER,
    charge_time: datetime = NOON,
) -> SoldImage:
    return SoldImage(
        tenant_id=TenantId(tenant_id),
        job_id=JobId(f"{tenant_id}-job"),
        image_id=ImageId(image_id),
        day=date(2026, 11, 24),
        charge_time=charge_time,
        currency=currency,
        price_nanos=price_nanos,
        model="m",
        tier=Tier.BATCH,
        width=1024,
        height=1024,
        num_inference_steps=28,
        gpu_seconds=gpu_seconds,
        energy_millijoules=energy_millijoules,
        energy_source=energy_source,
    )


def report(
    *images: SoldImage,
    book: CostBook | None = None,
    group_by: tuple[MarginDimension, ...] = (),
) -> MarginReport:
    made = MarginReport(book or CostBook([version()]), group_by)
    made.add(images)
    return made


def test_a_margin_is_revenue_less_seconds_and_energy_at_own_cost() -> None:
    # 5 s at 0.0015 / 0.75 and a thousandth of a kWh at 0.15.
    assert report(sold()).totals() == {
        "EUR": Margin(
            image_count=1,
            revenue_nanos=20_000_000,
            gpu_cost_nanos=10_000_000,
            energy_cost_nanos=150_000,
        )
    }
    assert report(sold()).totals()["EUR"].margin_nanos == 9_850_000


@given(
    gpu_second_nanos=st.integers(0, 10**9),
    kwh_nanos=st.integers(0, 10**10),
    idle_share_millionths=st.integers(0, 990_000),
    gpu_seconds=st.floats(0, 1000),
    energy_millijoules=st.integers(0, 10**9),
)
def test_costs_are_those_of_exact_fractions(
    gpu_second_nanos: int,
    kwh_nanos: int,
    idle_share_millionths: int,
    gpu_seconds: float,
    energy_millijoules: int,
) -> None:
    document = CostDocument(
        currency="EUR",
        gpu_second_nanos=gpu_second_nanos,
        kwh_nanos=kwh_nanos,
        idle_share_millionths=idle_share_millionths,
    )
    image = sold(gpu_seconds=gpu_seconds, energy_millijoules=energy_millijoules)

    made = report(image, book=CostBook([version(document)])).totals()["EUR"]

    busy_share = 1 - Fraction(idle_share_millionths, 10**6)
    loaded_nanos = round(gpu_second_nanos / busy_share)
    microseconds = round(Fraction(gpu_seconds) * 10**6)
    assert made.gpu_cost_nanos == round(Fraction(microseconds, 10**6) * loaded_nanos)
    assert made.energy_cost_nanos == round(Fraction(energy_millijoules, 3_600_000_000) * kwh_nanos)


def test_tiers_of_urgency_do_not_change_what_an_image_costs() -> None:
    assert COSTS.as_price().multiplier_millionths(Tier.BATCH) == 1_000_000
    assert COSTS.as_price().multiplier_millionths(Tier.INTERACTIVE) == 1_000_000


def test_the_costs_that_held_when_an_image_was_charged_count() -> None:
    later = datetime(2026, 11, 25, tzinfo=UTC)
    free = CostDocument(currency="EUR", gpu_second_nanos=0, kwh_nanos=0)
    book = CostBook([version(free, later), version()])

    made = report(sold("i1"), sold("i2", charge_time=later), book=book).totals()["EUR"]

    assert (made.gpu_cost_nanos, made.energy_cost_nanos) == (10_000_000, 150_000)


@pytest.mark.parametrize("source", [EnergySource.PARTIAL, EnergySource.NONE])
def test_without_all_of_its_energy_a_margin_is_not_told(source: EnergySource) -> None:
    made = report(sold("i1"), sold("i2", energy_source=source)).totals()["EUR"]

    assert (made.energy_uncosted_count, made.energy_cost_nanos) == (1, 150_000)
    assert made.margin_nanos is None


def test_before_the_cost_book_begins_a_margin_is_not_told() -> None:
    early = datetime(2026, 11, 23, tzinfo=UTC)

    made = report(sold(charge_time=early), sold("i2", currency="USD")).totals()

    assert [(margin.uncosted_count, margin.margin_nanos) for margin in made.values()] == [
        (1, None),
        (1, None),
    ]


def test_groups_add_up_to_the_total_of_their_currency() -> None:
    made = report(
        sold("i1", tenant_id="acme"),
        sold("i2", tenant_id="zen", price_nanos=1),
        sold("i3", tenant_id="acme", currency="USD"),
        group_by=(MarginDimension.TENANT,),
    )

    told = [(key.tenant_id, key.currency, margin.revenue_nanos) for key, margin in made.groups()]
    assert told == [("acme", "EUR", 20_000_000), ("acme", "USD", 20_000_000), ("zen", "EUR", 1)]
    assert made.totals()["EUR"].revenue_nanos == 20_000_001


def test_costs_read_back_as_they_were_written() -> None:
    assert cost_from_json(cost_to_json(COSTS)) == COSTS


@pytest.mark.parametrize(
    ("gpu_second_nanos", "kwh_nanos", "idle_share_millionths", "field"),
    [
        (-1, 0, 0, "gpu_second_nanos"),
        (0, 10**15 + 1, 0, "kwh_nanos"),
        (0, 0, 990_001, "idle_share_millionths"),
        (10**15, 0, 1, "idle_share_millionths"),
    ],
)
def test_costs_out_of_range_are_refused(
    gpu_second_nanos: int, kwh_nanos: int, idle_share_millionths: int, field: str
) -> None:
    with pytest.raises(PriceInvalidError) as refused:
        CostDocument(
            currency="EUR",
            gpu_second_nanos=gpu_second_nanos,
            kwh_nanos=kwh_nanos,
            idle_share_millionths=idle_share_millionths,
        )

    assert refused.value.field == field
