"""Every hour each tenant's drafts are derived: who can be invoiced is told, and what stops it."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from database.pool import Pool
from metering.errors import MeteringError
from metering.invoice_chain import get_chain
from metering.invoice_document import Party
from metering.invoice_drafts import Issuer, derive_draft
from services.housekeeper.tenant_turns import tenant_turn
from tenants.tenant_store import Tenant, list_tenants

log = structlog.get_logger()

_TENANTS_PER_PAGE = 200
# A draft that nobody reads needs no seller.
_NOBODY = Issuer(seller=Party(legal_name="", postal_address="", vat_id=""))


class InvoiceDrafts:
    """Derives drafts and drops them: a draft that were kept would be stale with the next image."""

    def __init__(
        self, pool: Pool, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._pool = pool
        self._now = now

    async def sweep(self) -> None:
        after = ""
        while True:
            async with self._pool.connection() as connection:
                tenants = await list_tenants(connection, limit=_TENANTS_PER_PAGE, after=after)
            for tenant in tenants:
                if tenant.state.is_leaving:
                    continue
                with tenant_turn(tenant.tenant_id, duty="invoice_drafts"):
                    await self._look_at(tenant)
            if len(tenants) < _TENANTS_PER_PAGE:
                return
            after = tenants[-1].tenant_id

    async def _look_at(self, tenant: Tenant) -> None:
        now = self._now()
        async with self._pool.connection() as connection:
            chain = await get_chain(connection, tenant, now=now)
            period = chain.next_period(now)
            try:
                draft = await derive_draft(
                    connection, tenant, period=period, chain=chain, issuer=_NOBODY, now=now
                )
            except MeteringError as error:
                log.error(  # noqa: TRY400 - the sums are the finding, a trace adds nothing
                    "invoice_stopped",
                    tenant=tenant.tenant_id,
                    invoice=period.invoice_id,
                    reason=str(error),
                )
                return
        if period.end_time <= now:
            log.info(
                "invoice_waits_to_be_finalized",
                tenant=tenant.tenant_id,
                invoice=period.invoice_id,
                images=draft.invoice.image_count,
                total_nanos=draft.invoice.total_nanos,
                currency=draft.invoice.currency,
            )
