"""What the demo asks of the gateway through the SDK, like any customer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import atelier
from atelier.job_states import image_came, image_is_finished
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.billing_service_pb2 import InvoiceFileKind, InvoiceLineKind
from atelier.v1.energy_pb2 import EnergySource
from atelier.v1.image_pb2 import Image
from atelier.v1.job_service_pb2 import WatchJobResponse
from atelier.v1.money_pb2 import Money
from atelier.v1.price_pb2 import (
    CeilingBound,
    PriceComponent,
    PriceComponentKind,
    PriceTier,
    PriceVersion,
    TaxRate,
)
from atelier.v1.tenant_service_pb2 import Tenant
from services.standalone.demo import shop
from services.standalone.demo.drawn_image import DrawnImage
from services.standalone.demo.shop import Studio

# What comes after the net total, or only says how it is paid.
_LINES_AFTER_NET = {
    InvoiceLineKind.INVOICE_LINE_KIND_TAX,
    InvoiceLineKind.INVOICE_LINE_KIND_ROUNDING,
    InvoiceLineKind.INVOICE_LINE_KIND_CREDIT_APPLIED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceSums:
    """An invoice, in nanos."""

    before_tax_nanos: int
    total_nanos: int


def open_shop(address: str, operator_key: str) -> dict[str, str]:
    """As the operator: a price, the studios with their credit, a key for each; return the keys."""
    with atelier.Client(address, api_key=operator_key) as operator:
        operator.create_price_version(_price())
    return {
        studio.tenant_id: _open_account(address, operator_key, studio) for studio in shop.STUDIOS
    }


def watch(
    address: str, key: str, job: str, *, tell: Callable[[float, int, int], None]
) -> list[DrawnImage]:
    """Follow a job to its end, telling images drawn (with fractions), finished, and of how many."""
    with atelier.Client(address, api_key=key) as client:
        finished: set[str] = set()
        fractions: dict[str, float] = {}
        count = client.get_job(job).image_count
        for news in client.watch_job(job):
            _take_in(news, finished, fractions)
            drawn = len(finished) + sum(fractions.values())
            tell(drawn, len(finished), count)
        return [_drawn_image(image) for image in client.list_images(job)]


def save_picture(address: str, key: str, image: DrawnImage, path: Path) -> None:
    """Save a picture, checked against its hash."""
    with atelier.Client(address, api_key=key) as client:
        client.save_image(image.name, path)


def save_invoice(address: str, key: str, folder: Path) -> InvoiceSums:
    """Save the running month's invoice as PDF and CSV and return its sums."""
    with atelier.Client(address, api_key=key) as client:
        pdf = client.download_invoice(file_kind=InvoiceFileKind.INVOICE_FILE_KIND_PDF)
        (folder / "invoice.pdf").write_bytes(pdf.data)
        csv = client.download_invoice(file_kind=InvoiceFileKind.INVOICE_FILE_KIND_CSV)
        (folder / "invoice.csv").write_bytes(csv.data)
        invoice = client.get_invoice()
        return InvoiceSums(
            before_tax_nanos=sum(
                line.billed_cost.nanos
                for line in invoice.lines
                if line.kind not in _LINES_AFTER_NET
            ),
            total_nanos=invoice.total.nanos,
        )


def available_nanos(address: str, key: str) -> int:
    """Return what is left of the studio's credit."""
    with atelier.Client(address, api_key=key) as client:
        return client.get_balance().available.nanos


def _price() -> PriceVersion:
    return PriceVersion(
        currency_code=shop.CURRENCY,
        display_name="Demo price",
        components=[
            _component(PriceComponentKind.PRICE_COMPONENT_KIND_PER_IMAGE, shop.IMAGE_PRICE_NANOS),
            _component(
                PriceComponentKind.PRICE_COMPONENT_KIND_PER_MEGAPIXEL_STEP,
                shop.MEGAPIXEL_STEP_PRICE_NANOS,
            ),
            _component(PriceComponentKind.PRICE_COMPONENT_KIND_PER_KWH, shop.KWH_PRICE_NANOS),
        ],
        tax_rates=[TaxRate(display_name="VAT 19 %", rate_millionths=shop.VAT_MILLIONTHS)],
        ceiling_bounds=[
            CeilingBound(
                energy_millijoules_fixed=shop.ENERGY_MILLIJOULES_FIXED_MAX,
                energy_millijoules_per_megapixel_step=(
                    shop.ENERGY_MILLIJOULES_PER_MEGAPIXEL_STEP_MAX
                ),
            )
        ],
        charge_estimated_energy=True,
    )


def _component(kind: "PriceComponentKind.ValueType", unit_price_nanos: int) -> PriceComponent:
    return PriceComponent(kind=kind, tiers=[PriceTier(unit_price_nanos=unit_price_nanos)])


def _open_account(address: str, operator_key: str, studio: Studio) -> str:
    with atelier.Client(address, api_key=operator_key, tenant=studio.tenant_id) as operator:
        operator.create_tenant(
            studio.tenant_id,
            Tenant(
                display_name=studio.display_name,
                currency_code=shop.CURRENCY,
                legal_name=studio.legal_name,
                postal_address=studio.postal_address,
                vat_id=studio.vat_id,
            ),
        )
        operator.grant_credit(
            Money(currency_code=shop.CURRENCY, nanos=shop.CREDIT_NANOS), description="Demo credit"
        )
        made = operator.create_api_key(ApiKey(display_name="demo", role=KeyRole.KEY_ROLE_ADMIN))
        return made.secret


def _take_in(news: WatchJobResponse, finished: set[str], fractions: dict[str, float]) -> None:
    if news.HasField("image") and image_is_finished(news.image):
        finished.add(news.image.name)
        fractions.pop(news.image.name, None)
    elif news.HasField("progress") and news.progress.image not in finished:
        fractions[news.progress.image] = news.progress.step / max(news.progress.step_count, 1)


def _drawn_image(image: Image) -> DrawnImage:
    _, tenant, _, job, _, image_id = image.name.split("/")
    receipt = image.receipt
    return DrawnImage(
        name=image.name,
        tenant=tenant,
        job=job,
        image=image_id,
        number=image.image_number,
        succeeded=image_came(image),
        failure=image.failure.message,
        prompt=image.spec.prompt,
        seed=receipt.seed,
        seconds=receipt.gpu_seconds,
        energy_millijoules=receipt.energy_millijoules,
        energy_source=EnergySource.Name(receipt.energy_source).removeprefix("ENERGY_SOURCE_"),
        price_nanos=receipt.price.nanos,
        currency=receipt.price.currency_code,
        attempt=receipt.attempt,
    )
