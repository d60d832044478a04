"""The demo must find what does not add up."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from metering.energy_hours import HourReconciliation
from services.standalone.demo.checks import TenantResult, findings
from services.standalone.demo.drawn_image import DrawnImage
from services.standalone.demo.report import joules, money
from tenants.ids import GpuId

MUG = DrawnImage(
    name="tenants/acme/jobs/j1/images/i1",
    tenant="acme",
    job="j1",
    image="i1",
    number=1,
    succeeded=True,
    failure="",
    prompt="A red mug, on (white)!",
    seed=11,
    seconds=2.5,
    energy_millijoules=6_543,
    energy_source="ESTIMATED",
    price_nanos=10_622_047,
    currency="EUR",
    attempt=1,
)
VASE = replace(MUG, name="tenants/acme/jobs/j1/images/i2", image="i2", number=2, price_nanos=3)
ACME = TenantResult(
    tenant_id="acme",
    images=(MUG, VASE),
    captured_nanos=10_622_050,
    invoice_before_tax_nanos=10_622_050,
    credit_nanos=50_000_000_000,
    available_nanos=49_989_377_950,
)
HOUR = HourReconciliation(
    gpu_id=GpuId("cpu-0"),
    hour_start_time=datetime(2026, 1, 1, 8, tzinfo=UTC),
    sources="ESTIMATED",
    counter_millijoules=10_000,
    segment_count=4,
    images_millijoules=6_543,
    overhead_millijoules=0,
    in_progress_millijoules=0,
    parked_millijoules=2_000,
    free_millijoules=457,
    load_millijoules=1_000,
    unknown_millijoules=0,
)


def test_what_adds_up_has_no_findings() -> None:
    assert findings([ACME], [HOUR]) == []


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ({"captured_nanos": 10_622_049}, "captures in the ledger to 10622049"),
        ({"invoice_before_tax_nanos": 10_620_000}, "invoice before tax to 10620000"),
        ({"available_nanos": 49_989_377_951}, "credit that was used up to 10622049"),
    ],
)
def test_a_sum_that_is_one_nano_off_is_found(changed: dict[str, int], finding: str) -> None:
    (found,) = findings([replace(ACME, **changed)], [HOUR])

    assert finding in found


def test_an_image_that_did_not_come_is_found() -> None:
    failed = replace(MUG, succeeded=False, failure="Out of memory")

    found = findings([replace(ACME, images=(failed, VASE))], [HOUR])

    assert found == ["tenants/acme/jobs/j1/images/i1 did not succeed: Out of memory"]


def test_a_campaign_without_images_is_found() -> None:
    nothing = replace(
        ACME,
        images=(),
        captured_nanos=0,
        invoice_before_tax_nanos=0,
        available_nanos=50_000_000_000,
    )

    assert findings([nothing], [HOUR]) == ["acme: no image was drawn"]


def test_a_millijoule_that_nobody_was_booked_for_is_found() -> None:
    found = findings([ACME], [replace(HOUR, counter_millijoules=10_001)])

    assert found == ["cpu-0: 1 mJ of the counter are not booked"]


def test_a_meter_that_saw_no_image_is_found() -> None:
    idle = replace(HOUR, images_millijoules=0, free_millijoules=7_000)

    assert findings([ACME], [idle]) == ["the meter booked no energy on any image"]


def test_a_pictures_file_is_named_by_its_place_and_prompt() -> None:
    assert MUG.file_name == "01-a-red-mug-on-white.png"


def test_money_and_energy_are_written_exactly() -> None:
    assert money(10_622_047) == "0.010622047"
    assert money(20_000_000_000) == "20.000000000"
    assert joules(6_543) == "6.543"
