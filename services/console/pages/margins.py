"""For the operator: what is left of the revenue, by tenant and by day."""

import asyncio

from starlette.responses import Response

from atelier.v1.cost_pb2 import MarginDimension
from services.console.months import month_of
from services.console.visit import Visit


async def margins(visit: Visit) -> Response:
    month = month_of(visit.now, visit.visitor.time_zone)
    by_tenant, by_day = await asyncio.gather(
        *(
            visit.client.query_margin(month.start, visit.now, [dimension])
            for dimension in (
                MarginDimension.MARGIN_DIMENSION_TENANT,
                MarginDimension.MARGIN_DIMENSION_DAY,
            )
        )
    )
    return visit.page(
        "margins.html",
        by_tenant=by_tenant.groups,
        by_day=by_day.groups,
        totals=by_tenant.totals,
        costs=[one async for one in visit.client.list_costs()],
    )
