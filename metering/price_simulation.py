"""What a past period would have cost under another price: the same facts, rated again."""

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.invoice_period_end import UsageLineSum
from metering.invoice_totals import InvoiceTotals, total_invoice
from metering.parked_energy import NOTHING_PARKED, ParkedEnergy, read_parked
from metering.period_counts import NOTHING_COUNTED, PeriodCounts
from metering.periods import BillingPeriod
from metering.price_document import PriceDocument
from metering.rating import RatedLine, RatingFacts, charged_counts, rate
from tenants.ids import PriceId, TenantId

_QUERIES: Final = load_queries(__file__)
# As many as a thread rates in a tenth of a second, so that nobody waits for a month of usage.
_FACTS_PER_PART: Final = 2_000
# A price that is being thought about has no id; its lines name none.
_NO_ID: Final = PriceId("")


class Simulation:
    """Rates images one after the other, as their captures would have been."""

    def __init__(self, price: PriceDocument) -> None:
        self._price = price
        self._counted: PeriodCounts = NOTHING_COUNTED
        self._sums: dict[tuple[str, ...], UsageLineSum] = {}

    def add(self, images: Iterable[RatingFacts]) -> None:
        """Rate more images, in the order they were charged.

        Raises:
            ModelNotPricedError: the price charges nothing for a model that was used.
        """
        for facts in images:
            rated = rate(self._price, facts, self._counted)
            consumed = charged_counts(self._price, facts)
            self._counted = self._counted.after(facts.model, consumed)
            for line in rated.lines:
                self._add_line(facts, line)

    def totals(self, parked: ParkedEnergy = NOTHING_PARKED) -> InvoiceTotals:
        """Settle the period as its invoice would, without any prepaid credit."""
        return total_invoice(
            list(self._sums.values()),
            {_NO_ID: self._price},
            currency=self._price.currency,
            period_price=self._price,
            parked=parked,
        )

    def _add_line(self, facts: RatingFacts, line: RatedLine) -> None:
        key = (line.component, facts.model, facts.tier, str(line.list_unit_price_nanos))
        before = self._sums.get(key)
        self._sums[key] = UsageLineSum(
            component=line.component,
            model=facts.model,
            tier=facts.tier,
            consumed_unit=line.consumed_unit,
            list_unit_price_nanos=line.list_unit_price_nanos,
            price_id=_NO_ID,
            image_count=(before.image_count if before else 0) + 1,
            consumed_quantity=(before.consumed_quantity if before else Decimal(0))
            + line.consumed_quantity,
            billed_cost_nanos=(before.billed_cost_nanos if before else 0) + line.billed_cost_nanos,
        )


async def simulate_price(
    conn: AsyncConnection, tenant_id: TenantId, *, period: BillingPeriod, price: PriceDocument
) -> InvoiceTotals:
    """Price what a tenant was charged for in a period by another price; nothing is stored.

    Raises:
        ModelNotPricedError: the price charges nothing for a model that was used.
    """
    simulation = Simulation(price)
    # By a cursor of the server: a month of a large tenant is not held in memory.
    async with conn.cursor("charged_facts", row_factory=typed_row(RatingFacts)) as cursor:
        await cursor.execute(
            _QUERIES["charged_facts"],
            {
                "tenant_id": tenant_id,
                "start_time": period.start_time,
                "end_time": period.end_time,
            },
        )
        while facts := await cursor.fetchmany(_FACTS_PER_PART):
            await asyncio.to_thread(simulation.add, facts)
    parked = await read_parked(
        conn, tenant_id, start_time=period.start_time, end_time=period.end_time
    )
    return simulation.totals(parked)
