"""`atelier admin …`: what the operator does."""

from datetime import datetime
from pathlib import Path

import click
from google.protobuf.json_format import Parse, ParseError

from atelier.calls import timestamp
from atelier.cli.columns import (
    BALANCE_COLUMNS,
    LINE_COLUMNS,
    PRICE_COLUMNS,
    TENANT_COLUMNS,
    TENANT_DETAILS,
)
from atelier.cli.energy_command import energy
from atelier.cli.fleet_commands import gpus, power, workers
from atelier.cli.margin_commands import costs, margin
from atelier.cli.output import message_fields
from atelier.cli.session import Session, in_session
from atelier.cli.tenant_manifest import manifest
from atelier.cli.values import AMOUNT, MOMENT, PERCENT
from atelier.money import format_money
from atelier.names import tenant_name
from atelier.v1.image_pb2 import Tier
from atelier.v1.money_pb2 import Money
from atelier.v1.price_pb2 import (
    CeilingBound,
    PriceComponent,
    PriceComponentKind,
    PriceTier,
    PriceVersion,
    TaxRate,
    TierMultiplier,
)
from atelier.v1.tenant_service_pb2 import Tenant, TenantQuotas


@click.group()
def admin() -> None:
    """Run the installation (operator's key)."""


admin.add_command(energy)
admin.add_command(gpus)
admin.add_command(workers)
admin.add_command(power)
admin.add_command(costs)
admin.add_command(margin)


@admin.group()
def tenants() -> None:
    """Studios on this installation."""


tenants.add_command(manifest)


@tenants.command("create")
@click.argument("tenant_id")
@click.option("--title", default="", help="For people; the id unless given.")
@click.option("--currency", default="USD", show_default=True, help="Such as EUR.")
@click.option("--price-book", default="", help="The standard book unless given.")
@click.option("--legal-name", default="", help="On invoices.")
@click.option("--postal-address", default="", help=r"On invoices; \n begins a new line.")
@click.option("--vat-id", default="", help="On invoices.")
@click.option("--time-zone", default="", help="Such as Europe/Berlin; UTC unless given.")
@click.option("--credit-limit", type=AMOUNT, help="How far below zero its wallet may go.")
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def create_tenant(
    session: Session,
    *,
    tenant_id: str,
    title: str,
    currency: str,
    price_book: str,
    legal_name: str,
    postal_address: str,
    vat_id: str,
    time_zone: str,
    credit_limit: int | None,
    request_id: str | None,
) -> None:
    """Make a tenant."""
    tenant = Tenant(
        display_name=title or tenant_id,
        currency_code=currency.upper(),
        price_book=price_book,
        legal_name=legal_name,
        postal_address=postal_address.replace(r"\n", "\n"),
        vat_id=vat_id,
        time_zone=time_zone,
    )
    if credit_limit is not None:
        tenant.credit_limit.CopyFrom(Money(currency_code=currency.upper(), nanos=credit_limit))
    with session.open_client() as client:
        made = client.create_tenant(tenant_id, tenant, request_id=request_id)
    session.output.show_one(made, TENANT_DETAILS)


@tenants.command("list")
@in_session
def list_tenants(session: Session) -> None:
    """List all tenants."""
    with session.open_client() as client:
        session.output.show_many(list(client.list_tenants()), TENANT_COLUMNS)


@tenants.command("get")
@click.argument("tenant_id")
@in_session
def get_tenant(session: Session, *, tenant_id: str) -> None:
    """Show a tenant."""
    with session.open_client() as client:
        session.output.show_one(client.get_tenant(tenant_id), TENANT_DETAILS)


@tenants.command("suspend")
@click.argument("tenant_id")
@in_session
def suspend_tenant(session: Session, *, tenant_id: str) -> None:
    """Let a tenant read and no longer order."""
    with session.open_client() as client:
        session.output.show_one(client.suspend_tenant(tenant_id), TENANT_DETAILS)


@tenants.command("resume")
@click.argument("tenant_id")
@in_session
def resume_tenant(session: Session, *, tenant_id: str) -> None:
    """Let a suspended tenant order again."""
    with session.open_client() as client:
        session.output.show_one(client.resume_tenant(tenant_id), TENANT_DETAILS)


@tenants.command("limit")
@click.argument("tenant_id")
@click.option(
    "--calls-per-minute", type=click.IntRange(min=0), help="At each gateway; 0: the default."
)
@click.option(
    "--calls-in-flight", type=click.IntRange(min=0), help="At each gateway; 0: the default."
)
@click.option("--queued-images", type=click.IntRange(min=0), help="At a time; 0: the default.")
@in_session
def limit_tenant(
    session: Session,
    *,
    tenant_id: str,
    calls_per_minute: int | None,
    calls_in_flight: int | None,
    queued_images: int | None,
) -> None:
    """Bound what a tenant may take up; what is not given stays."""
    quotas = TenantQuotas(
        calls_per_minute_max=calls_per_minute or 0,
        calls_in_flight_max=calls_in_flight or 0,
        queued_images_max=queued_images or 0,
    )
    given = {
        "calls_per_minute_max": calls_per_minute,
        "calls_in_flight_max": calls_in_flight,
        "queued_images_max": queued_images,
    }
    fields = [f"quotas.{name}" for name, value in given.items() if value is not None]
    if not fields:
        raise click.UsageError("give at least one limit")
    tenant = Tenant(name=tenant_name(tenant_id), quotas=quotas)
    with session.open_client() as client:
        changed = client.update_tenant(tenant, fields)
    session.output.show_one(changed, TENANT_DETAILS)


@admin.group()
def credit() -> None:
    """Prepaid credit."""


@credit.command("grant")
@click.argument("tenant_id")
@click.argument("amount", type=AMOUNT)
@click.option("--currency", help="The tenant's unless given.")
@click.option("--description", default="", help="On the tenant's list of transfers.")
@click.option("--expires", type=MOMENT, help="When what is left of it ends; never unless given.")
@click.option(
    "--priority",
    type=click.IntRange(0, 1000),
    default=0,
    help="Lower ones are used first; among equals those that expire first.",
)
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def grant(
    session: Session,
    *,
    tenant_id: str,
    amount: int,
    currency: str | None,
    description: str,
    expires: datetime | None,
    priority: int,
    request_id: str | None,
) -> None:
    """Put AMOUNT into a tenant's wallet."""
    with session.open_client(tenant=tenant_id) as client:
        code = (currency or client.get_tenant().currency_code).upper()
        answer = client.grant_credit(
            Money(currency_code=code, nanos=amount),
            description=description,
            expire_time=expires,
            priority=priority,
            request_id=request_id,
        )
    if session.output.is_json:
        session.output.show_json(message_fields(answer))
    else:
        session.output.show_one(answer.balance, BALANCE_COLUMNS)


@admin.group()
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
    session: Session,
    *,
    file: Path | None,
    book: str,
    title: str,
    currency: str,
    per_image: int | None,
    per_megapixel_step: int | None,
    per_gpu_second: int | None,
    per_kwh: int | None,
    interactive: int | None,
    tax: int | None,
    tax_title: str,
    charge_estimated_energy: bool,
    gpu_milliseconds_max: int,
    energy_millijoules_max: int,
    effective: datetime | None,
    request_id: str | None,
) -> None:
    """Make a new price version."""
    unit_prices = {
        PriceComponentKind.PRICE_COMPONENT_KIND_PER_IMAGE: per_image,
        PriceComponentKind.PRICE_COMPONENT_KIND_PER_MEGAPIXEL_STEP: per_megapixel_step,
        PriceComponentKind.PRICE_COMPONENT_KIND_PER_GPU_SECOND: per_gpu_second,
        PriceComponentKind.PRICE_COMPONENT_KIND_PER_KWH: per_kwh,
    }
    price = PriceVersion(
        price_book=book,
        display_name=title,
        currency_code=currency.upper(),
        effective_time=timestamp(effective),
        components=[
            PriceComponent(kind=kind, tiers=[PriceTier(unit_price_nanos=nanos)])
            for kind, nanos in unit_prices.items()
            if nanos is not None
        ],
        charge_estimated_energy=charge_estimated_energy,
    )
    if interactive is not None:
        price.tier_multipliers.append(
            TierMultiplier(tier=Tier.TIER_INTERACTIVE, multiplier_millionths=interactive)
        )
    if tax is not None:
        name = tax_title or f"Tax {tax / 10_000:g} %"
        price.tax_rates.append(TaxRate(display_name=name, rate_millionths=tax))
    if gpu_milliseconds_max or energy_millijoules_max:
        price.ceiling_bounds.append(
            CeilingBound(
                gpu_milliseconds_fixed=gpu_milliseconds_max,
                gpu_milliseconds_per_megapixel_step=gpu_milliseconds_max,
                energy_millijoules_fixed=energy_millijoules_max,
                energy_millijoules_per_megapixel_step=energy_millijoules_max,
            )
        )
    if file is not None:
        price = _read_price(file)
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
