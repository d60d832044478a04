"""For the operator: studios, their wallets, and whether they may order."""

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from atelier.errors import CallError, UnavailableError
from atelier.money import money
from atelier.names import last_id
from atelier.v1.money_pb2 import Money
from atelier.v1.tenant_service_pb2 import Tenant, TenantQuotas
from services.console.errors import PageNotFoundError
from services.console.months import month_to_date
from services.console.refusals import reason_of
from services.console.visit import Visit, see

# What the form has; models and the rest stay as they are.
_CHANGED_FIELDS: Final = (
    "display_name",
    "legal_name",
    "postal_address",
    "vat_id",
    "time_zone",
    "price_book",
    "quotas.queued_images_max",
    "quotas.calls_per_minute_max",
    "quotas.calls_in_flight_max",
    "quotas.gpu_weight",
    "credit_limit",
)


async def tenants(visit: Visit) -> Response:
    return await _list_page(visit)


async def create_tenant(visit: Visit) -> Response:
    form = visit.form
    try:
        made = await visit.client.create_tenant(
            form.text("tenant_id"),
            _wanted(visit, currency=form.text("currency").upper()),
            request_id=form.text("request_id"),
        )
    except UnavailableError:
        raise
    except (CallError, ValueError) as error:
        return await _list_page(visit, problems=_problems(error))
    return see(f"/operator/tenants/{last_id(made.name)}")


async def tenant(visit: Visit) -> Response:
    return await _page(visit)


async def change_tenant(visit: Visit) -> Response:
    """Set what the form shows; the id and the currency stay."""
    current = await visit.client.get_tenant(_tenant_id(visit))
    try:
        wanted = _wanted(visit, currency=current.currency_code)
        wanted.name = current.name
        await visit.client.update_tenant(wanted, _CHANGED_FIELDS)
    except UnavailableError:
        raise
    except (CallError, ValueError) as error:
        return await _page(visit, problems=_problems(error))
    return see(f"/operator/tenants/{_tenant_id(visit)}")


async def grant_credit(visit: Visit) -> Response:
    """Put credit into a wallet; the same form sent twice does so once."""
    found = await visit.client.get_tenant(_tenant_id(visit))
    try:
        await visit.client_for(_tenant_id(visit)).grant_credit(
            money(visit.form.text("amount"), found.currency_code),
            description=visit.form.text("description"),
            request_id=visit.form.text("request_id"),
        )
    except UnavailableError:
        raise
    except (CallError, ValueError) as error:
        return await _page(visit, problems=_problems(error))
    return see(f"/operator/tenants/{_tenant_id(visit)}")


async def refund_credit(visit: Visit) -> Response:
    """Take credit that was paid back out of a wallet; the same form sent twice does so once."""
    found = await visit.client.get_tenant(_tenant_id(visit))
    try:
        await visit.client_for(_tenant_id(visit)).refund_credit(
            money(visit.form.text("refund_amount"), found.currency_code),
            reference=visit.form.text("reference"),
            request_id=visit.form.text("request_id"),
        )
    except UnavailableError:
        raise
    except (CallError, ValueError) as error:
        return await _page(visit, problems=_problems(error))
    return see(f"/operator/tenants/{_tenant_id(visit)}")


async def suspend(visit: Visit) -> Response:
    await visit.client.suspend_tenant(_tenant_id(visit))
    return see(f"/operator/tenants/{_tenant_id(visit)}")


async def resume(visit: Visit) -> Response:
    await visit.client.resume_tenant(_tenant_id(visit))
    return see(f"/operator/tenants/{_tenant_id(visit)}")


async def _list_page(visit: Visit, *, problems: Sequence[str] = ()) -> Response:
    found = [one async for one in visit.client.list_tenants()]
    return visit.page(
        "tenants.html",
        status_code=422 if problems else 200,
        tenants=found,
        problems=problems,
        form=visit.form,
    )


async def _page(visit: Visit, *, problems: Sequence[str] = ()) -> Response:
    client = visit.client_for(_tenant_id(visit))
    month = month_to_date(visit.now, visit.visitor.time_zone)
    found, balance, usage = await asyncio.gather(
        client.get_tenant(), client.get_balance(), client.query_usage(usage_filter=month)
    )
    return visit.page(
        "tenant.html",
        status_code=422 if problems else 200,
        tenant=found,
        balance=balance,
        usage=usage.total,
        invoices=[one async for one in client.list_invoices()],
        problems=problems,
    )


def _tenant_id(visit: Visit) -> str:
    text = visit.parameter("tenant")
    if re.fullmatch(r"[a-z][a-z0-9-]{1,30}", text) is None:
        raise PageNotFoundError
    return text


def _wanted(visit: Visit, *, currency: str) -> Tenant:
    form = visit.form
    return Tenant(
        display_name=form.text("display_name"),
        currency_code=currency,
        legal_name=form.text("legal_name"),
        postal_address=form.text("postal_address").replace("\r\n", "\n"),
        vat_id=form.text("vat_id"),
        time_zone=form.text("time_zone"),
        price_book=form.text("price_book"),
        credit_limit=_credit_limit(form.text("credit_limit"), currency),
        quotas=TenantQuotas(
            queued_images_max=form.whole_number("queued_images_max"),
            calls_per_minute_max=form.whole_number("calls_per_minute_max"),
            calls_in_flight_max=form.whole_number("calls_in_flight_max"),
            gpu_weight=float(form.text("gpu_weight") or 0),
        ),
    )


def _credit_limit(text: str, currency: str) -> Money | None:
    return money(text, currency or "USD") if text else None


def _problems(error: CallError | ValueError) -> list[str]:
    return reason_of(error) if isinstance(error, CallError) else [str(error)]
