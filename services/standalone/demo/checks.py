"""What must be true of the demo's sums; each finding is a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from metering.energy_hours import HourReconciliation
from services.standalone.demo.drawn_image import DrawnImage


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantResult:
    """All that is known of one studio's campaign, money in nanos."""

    tenant_id: str
    images: Sequence[DrawnImage]
    captured_nanos: int
    invoice_before_tax_nanos: int
    credit_nanos: int
    available_nanos: int

    @property
    def price_nanos(self) -> int:
        return sum(image.price_nanos for image in self.images)


def findings(results: Sequence[TenantResult], energy: Sequence[HourReconciliation]) -> list[str]:
    """Return what is wrong; empty when everything adds up."""
    return [
        *(finding for result in results for finding in _of_images(result)),
        *(finding for result in results for finding in _of_money(result)),
        *_of_energy(energy),
    ]


def _of_images(result: TenantResult) -> Iterator[str]:
    if not result.images:
        yield f"{result.tenant_id}: no image was drawn"
    for image in result.images:
        if not image.succeeded:
            yield f"{image.name} did not succeed: {image.failure or 'no reason given'}"


def _of_money(result: TenantResult) -> Iterator[str]:
    sums: Mapping[str, int] = {
        "captures in the ledger": result.captured_nanos,
        "invoice before tax": result.invoice_before_tax_nanos,
        "credit that was used up": result.credit_nanos - result.available_nanos,
    }
    for name, nanos in sums.items():
        if nanos != result.price_nanos:
            yield (
                f"{result.tenant_id}: the images' prices sum up to {result.price_nanos} nanos, "
                f"but {name} to {nanos}"
            )


def _of_energy(energy: Sequence[HourReconciliation]) -> Iterator[str]:
    if not any(hour.images_millijoules for hour in energy):
        yield "the meter booked no energy on any image"
    for hour in energy:
        if hour.residual_millijoules:
            yield f"{hour.gpu_id}: {hour.residual_millijoules} mJ of the counter are not booked"
