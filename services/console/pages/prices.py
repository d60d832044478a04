"""For the operator: price versions, and a new one with flat prices."""

from collections.abc import Sequence

from starlette.responses import Response

from atelier.errors import CallError, UnavailableError
from atelier.money import to_nanos
from atelier.v1.price_pb2 import (
    PriceComponent,
    PriceComponentKind,
    PriceTier,
    PriceVersion,
    TaxRate,
)
from services.console.refusals import reason_of
from services.console.visit import Visit, see

_MILLIONTHS_PER_PERCENT = 10_000


async def prices(visit: Visit) -> Response:
    return await _page(visit)


async def create_price(visit: Visit) -> Response:
    """Make a version that holds from now on; jobs that are accepted keep theirs."""
    try:
        await visit.client.create_price_version(
            _wanted(visit), request_id=visit.form.text("request_id")
        )
    except UnavailableError:
        raise
    except CallError as error:
        return await _page(visit, problems=reason_of(error))
    except ValueError as error:
        return await _page(visit, problems=[str(error)])
    return see("/operator/prices")


async def _page(visit: Visit, *, problems: Sequence[str] = ()) -> Response:
    found = [one async for one in visit.client.list_prices(of_all_books=True)]
    return visit.page(
        "prices.html",
        status_code=422 if problems else 200,
        prices=found,
        kinds={kind: PriceComponentKind.Name(kind) for kind in PriceComponentKind.values()},
        problems=problems,
        form=visit.form,
    )


def _wanted(visit: Visit) -> PriceVersion:
    form = visit.form
    amounts = (
        (PriceComponentKind.PRICE_COMPONENT_KIND_PER_IMAGE, form.text("per_image")),
        (PriceComponentKind.PRICE_COMPONENT_KIND_PER_MEGAPIXEL_STEP, form.text("per_step")),
    )
    components = [
        PriceComponent(kind=kind, tiers=[PriceTier(unit_price_nanos=to_nanos(amount))])
        for kind, amount in amounts
        if amount
    ]
    if not components:
        raise ValueError("Say at least one price.")
    tax = int(to_nanos(form.text("tax_percent") or "0") * _MILLIONTHS_PER_PERCENT // 10**9)
    return PriceVersion(
        price_book=form.text("price_book"),
        currency_code=form.text("currency").upper(),
        display_name=form.text("display_name"),
        components=components,
        tax_rates=[TaxRate(display_name=f"VAT {form.text('tax_percent')} %", rate_millionths=tax)]
        if tax
        else [],
    )
