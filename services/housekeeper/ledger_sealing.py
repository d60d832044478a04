"""Transfers are sealed into their tenant's chain; credit whose time is over expires."""

from datetime import UTC, datetime

import structlog

from database.pool import Pool, transaction
from metering.credit_lots import ExpiredLot, lots_to_expire
from metering.ledger import expire_credit
from metering.ledger_chain import BLOCK_TRANSFERS_MAX, seal_block, tenants_to_seal
from services.housekeeper.tenant_turns import tenant_turn
from tenants.ids import TenantId

log = structlog.get_logger()

_LOTS_PER_PAGE = 1_000


class LedgerSealing:
    """Seals what every tenant has in no block; the duty's lock lets one do it at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def sweep(self) -> None:
        async with self._pool.connection() as connection:
            tenants = await tenants_to_seal(connection)
        for tenant_id in tenants:
            with tenant_turn(tenant_id, duty="ledger_sealing"):
                await self._seal(tenant_id)

    async def _seal(self, tenant_id: TenantId) -> None:
        sealed = BLOCK_TRANSFERS_MAX
        while sealed == BLOCK_TRANSFERS_MAX:
            async with transaction(self._pool) as connection:
                sealed = await seal_block(connection, tenant_id)


class CreditExpiry:
    """Books to breakage what expired lots have left; holds keep theirs until they are resolved."""

    def __init__(self, pool: Pool, *, lots_per_page: int = _LOTS_PER_PAGE) -> None:
        self._pool = pool
        self._lots_per_page = lots_per_page

    async def sweep(self) -> None:
        after: ExpiredLot | None = None
        while True:
            async with self._pool.connection() as connection:
                lots = await lots_to_expire(
                    connection, now=datetime.now(UTC), limit=self._lots_per_page, after=after
                )
            for lot in lots:
                with tenant_turn(lot.tenant_id, duty="credit_expiry"):
                    await self._expire(lot)
            if len(lots) < self._lots_per_page:
                return
            after = lots[-1]

    async def _expire(self, lot: ExpiredLot) -> None:
        async with transaction(self._pool) as connection:
            amount_nanos = await expire_credit(connection, lot)
        if amount_nanos:
            log.info(
                "credit_expired",
                tenant=lot.tenant_id,
                lot=lot.lot_id,
                amount_nanos=amount_nanos,
                currency=lot.currency,
            )
