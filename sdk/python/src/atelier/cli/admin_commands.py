"""`atelier admin …`: what the operator does."""

import click

from atelier.cli.columns import (
    TENANT_COLUMNS,
    TENANT_DETAILS,
)
from atelier.cli.credit_commands import credit
from atelier.cli.energy_command import energy
from atelier.cli.fleet_commands import gpus, power, workers
from atelier.cli.margin_commands import costs, margin
from atelier.cli.price_commands import prices
from atelier.cli.session import Session, in_session
from atelier.cli.tenant_manifest import manifest
from atelier.cli.values import AMOUNT
from atelier.names import tenant_name
from atelier.v1.money_pb2 import Money
from atelier.v1.tenant_service_pb2 import Tenant, TenantQuotas


@click.group()
def admin() -> None:
    """Run the installation (operator's key)."""


admin.add_command(energy)
admin.add_command(credit)
admin.add_command(gpus)
admin.add_command(workers)
admin.add_command(power)
admin.add_command(costs)
admin.add_command(margin)
admin.add_command(prices)


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


@tenants.command("delete")
@click.argument("tenant_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--validate-only", is_flag=True, help="Only say what stands in the way.")
@in_session
def delete_tenant(session: Session, *, tenant_id: str, yes: bool, validate_only: bool) -> None:
    """Delete a suspended and settled tenant: its pictures, prompts, names, keys and broker.

    Its id, its ledger and its invoices stay. This cannot be undone.
    """
    with session.open_client() as client:
        if not (yes or validate_only):
            # What could not be done anyway is said before anybody is asked to be sure of it.
            client.delete_tenant(tenant_id, validate_only=True)
            typed = click.prompt("This cannot be undone. Type the tenant's id", err=True)
            if typed != tenant_id:
                raise click.ClickException("that is another id; nothing was deleted")
        client.delete_tenant(tenant_id, validate_only=validate_only)
        session.output.show_one(client.get_tenant(tenant_id), TENANT_DETAILS)


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
