"""`atelier admin prices …`: price versions, from options or from a file."""

from datetime import datetime
from pathlib import Path
from typing import TypedDict, Unpack

import click
from google.protobuf.json_format import Parse, ParseError

from atelier.calls import timestamp
from atelier.cli.columns import LINE_COLUMNS, PRICE_COLUMNS
from atelier.cli.output import message_fields
from atelier.cli.session import Session, in_session
from atelier.cli.values import AMOUNT, MOMENT, PERCENT
from atelier.money import format_money
from atelier.v1.image_pb2 import Tier
from atelier.v1.price_pb2 import (
    CeilingBound,
    PriceComponent,
    PriceComponentKind,
    PriceTier,
    PriceVersion,
    TaxRate,
    TierMultiplier,
)


class PriceWish(TypedDict):
    """What `create` takes as options; amounts in nanos, shares in millionths."""

    book: str
    title: str
    currency: str
    per_image: int | None
    per_megapixel_step: int | None
    per_gpu_second: int | None
    per_kwh: int | None
    interactive: int | None
    tax: int | None
    tax_title: str
    charge_estimated_energy: bool
    gpu_milliseconds_max: int
    energy_millijoules_max: int
    effective: datetime | None


def price_of(wish: PriceWish) -> PriceVersion:
    """Write the price that the options describe."""
    price = PriceVersion(
        price_book=wish["book"],
        display_name=wish["title"],
        currency_code=wish["currency"].upper(),
        effective_time=timestamp(wish["effective"]),
        components=_components(wish),
        charge_estimated_energy=wish["charge_estimated_energy"],
    )
    if (multiplier := wish["interactive"]) is not None:
        price.tier_multipliers.append(
            TierMultiplier(tier=Tier.TIER_INTERACTIVE, multiplier_millionths=multiplier)
        )
    if (tax := wish["tax"]) is not None:
        name = wish["tax_title"] or f"Tax {tax / 10_000:g} %"
        price.tax_rates.append(TaxRate(display_name=name, rate_millionths=tax))
    if wish["gpu_milliseconds_max"] or wish["energy_millijoules_max"]:
        price.ceiling_bounds.append(_bound(wish))
    return price


def _components(wish: PriceWish) -> list[PriceComponent]:
    unit_prices = {
        PriceComponentKind.PRICE_COMPONENT_KIND_PER_IMAGE: wish["per_image"],
        PriceComponentKind.PRICE_COMPONENT_KIND_PER_MEGAPIXEL_STEP: wish["per_megapixel_step"],
        PriceComponentKind.PRICE_COMPONENT_KIND_PER_GPU_SECOND: wish["per_gpu_second"],
        PriceComponentKind.PRICE_COMPONENT_KIND_PER_KWH: wish["per_kwh"],
    }
    return [
        PriceComponent(kind=kind, tiers=[PriceTier(unit_price_nanos=nanos)])
        for kind, nanos in unit_prices.items()
        if nanos is not None
    ]


def _bound(wish: PriceWish) -> CeilingBound:
    return CeilingBound(
        gpu_milliseconds_fixed=wish["gpu_milliseconds_max"],
        gpu_milliseconds_per_megapixel_step=wish["gpu_milliseconds_max"],
        energy_millijoules_fixed=wish["energy_millijoules_max"],
        energy_millijoules_per_megapixel_step=wish["energy_millijoules_max"],
    )


@click.group()
def prices() -> None:
    """Price versions."""


@prices.command("list")
@in_session
def list_prices(session: Session) -> None:
    """List price versions, newest first: all books, or a tenant's with --tenant."""
    with session.open_client() as client:
        found = list(client.list_prices(of_all_books=session.tenant is None))
    session.output.show_many(found, PRICE_COLUMNS)


@prices.command("create")
@click.option(
    "--from",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A PriceVersion as JSON; the options below then do not count.",
)
@click.option("--book", default="", help="The standard book unless given.")
@click.option("--title", default="", help="For people.")
@click.option("--currency", default="USD", show_default=True, help="Such as EUR.")
@click.option("--per-image", type=AMOUNT, help="For each image.")
@click.option("--per-megapixel-step", type=AMOUNT, help="For a million pixels times one step.")
@click.option("--per-gpu-second", type=AMOUNT, help="For each second of the engine.")
@click.option("--per-kwh", type=AMOUNT, help="For energy.")
@click.option("--interactive", type=PERCENT, help="What INTERACTIVE costs in percent of that.")
@click.option("--tax", type=PERCENT, help="Tax in percent.")
@click.option("--tax-title", default="", help="On the invoice, such as VAT 19 %.")
@click.option("--charge-estimated-energy", is_flag=True, help="Charge the kWh of estimates too.")
@click.option(
    "--gpu-milliseconds-max",
    type=click.IntRange(min=0),
    default=0,
    help="Most engine time of a megapixel-step, and before the first; for the hold.",
)
@click.option(
    "--energy-millijoules-max",
    type=click.IntRange(min=0),
    default=0,
    help="Most energy of a megapixel-step, and before the first; for the hold.",
)
@click.option("--effective", type=MOMENT, help="From when on; now unless given.")
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def create_price(
    session: Session, *, file: Path | None, request_id: str | None, **wish: Unpack[PriceWish]
) -> None:
    """Make a new price version."""
    price = price_of(wish) if file is None else _read_price(file)
    if not price.components:
        raise click.UsageError("a price charges something: give --from or one of --per-…")
    with session.open_client() as client:
        made = client.create_price_version(price, request_id=request_id)
    session.output.show_one(made, PRICE_COLUMNS)


@prices.command("simulate")
@click.argument("tenant_id")
@click.argument("billing_period")
@click.option("--price", help="Id of a version that exists.")
@click.option(
    "--from",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A PriceVersion as JSON that is being thought about.",
)
@in_session
def simulate_price(
    session: Session, *, tenant_id: str, billing_period: str, price: str | None, file: Path | None
) -> None:
    """Price a tenant's BILLING_PERIOD, such as 2026-11, by another price."""
    if (price is None) == (file is None):
        raise click.UsageError("name one price: --price or --from")
    with session.open_client(tenant=tenant_id) as client:
        other = _read_price(file) if file is not None else str(price)
        answer = client.simulate_price(billing_period, other)
    if session.output.is_json:
        session.output.show_json(message_fields(answer))
        return
    session.output.show_many(answer.lines, LINE_COLUMNS)
    click.echo(f"{format_money(answer.total)} instead of {format_money(answer.actual_total)}")


def _read_price(file: Path) -> PriceVersion:
    try:
        return Parse(file.read_text(encoding="utf-8"), PriceVersion())
    except (ParseError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} is no PriceVersion: {error}") from None
