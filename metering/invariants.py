"""What must always hold of money and jobs: invariants that count their violations."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)

# Written out, so that whoever reads this list reads what is promised.
_INVARIANTS: Final = {
    "billed_not_succeeded": _QUERIES["billed_not_succeeded"],
    "succeeded_not_billed": _QUERIES["succeeded_not_billed"],
    "hold_resolved_twice": _QUERIES["hold_resolved_twice"],
    "terminal_image_with_open_hold": _QUERIES["terminal_image_with_open_hold"],
    "live_image_without_open_hold": _QUERIES["live_image_without_open_hold"],
    "job_counters_differ": _QUERIES["job_counters_differ"],
    "account_counters_differ": _QUERIES["account_counters_differ"],
    "debits_differ_from_credits": _QUERIES["debits_differ_from_credits"],
    "guarded_account_overdrawn": _QUERIES["guarded_account_overdrawn"],
    "capture_above_hold": _QUERIES["capture_above_hold"],
    "usage_differs_from_captures": _QUERIES["usage_differs_from_captures"],
    "usage_lines_differ_from_price": _QUERIES["usage_lines_differ_from_price"],
    "budget_counters_differ": _QUERIES["budget_counters_differ"],
    "guarded_budget_over": _QUERIES["guarded_budget_over"],
    "period_quantities_differ": _QUERIES["period_quantities_differ"],
    "lots_differ_from_wallet": _QUERIES["lots_differ_from_wallet"],
    "lot_counters_differ": _QUERIES["lot_counters_differ"],
    "transfer_on_no_list": _QUERIES["transfer_on_no_list"],
    "usage_on_no_list": _QUERIES["usage_on_no_list"],
    "invoice_lines_differ_from_total": _QUERIES["invoice_lines_differ_from_total"],
    "invoice_differs_from_ledger": _QUERIES["invoice_differs_from_ledger"],
    "credit_notes_above_total": _QUERIES["credit_notes_above_total"],
}


# Sums over a tenant's whole history: a change is no smaller question than all of it.
WHOLE_ONLY: Final = frozenset(
    {
        "account_counters_differ",
        "budget_counters_differ",
        "period_quantities_differ",
        "lot_counters_differ",
    }
)
# How long a transaction may take and still be seen: rows carry the time at which theirs began. What
# takes longer is found when everything is looked at.
_TRANSACTION_TIME_MAX: Final = timedelta(minutes=5)


async def check_invariants(
    conn: AsyncConnection, *, tenant_id: TenantId | None = None
) -> dict[str, int]:
    """Count the violations of each invariant, over all that the connection's role sees.

    ``tenant_id`` looks at one tenant alone: no invariant spans two of them.

    Each query is one statement and so looks at one instant; it may run beside any other work.
    """
    return await _count(
        conn, _INVARIANTS, {"image_ids": None, "since": None, "tenant_id": tenant_id}
    )


async def check_changed(conn: AsyncConnection, *, since: datetime) -> dict[str, int]:
    """Count the violations among images, transfers and invoices that changed since a time.

    Small tables are looked at in whole; what only sums over everything can tell is left out
    (``WHOLE_ONLY``).
    """
    start_time = since - _TRANSACTION_TIME_MAX
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["touched_images"], {"since": start_time})
        image_ids: list[str] = await cursor.fetchall()
    queries = {name: query for name, query in _INVARIANTS.items() if name not in WHOLE_ONLY}
    return await _count(
        conn, queries, {"image_ids": image_ids, "since": start_time, "tenant_id": None}
    )


async def database_time(conn: AsyncConnection) -> datetime:
    """Read the clock by which ``check_changed`` looks."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["get_time"])
        time: datetime | None = await cursor.fetchone()
    assert time is not None, "now() gives a row"
    return time


async def _count(
    conn: AsyncConnection, queries: Mapping[str, bytes], scope: Mapping[str, object]
) -> dict[str, int]:
    counts: dict[str, int] = {}
    async with conn.cursor(row_factory=scalar_row) as cursor:
        for name, query in queries.items():
            # Never prepared: a plan for everything is a bad one for what changed.
            await cursor.execute(query, scope, prepare=False)
            count: int | None = await cursor.fetchone()
            assert count is not None, "count(*) gives a row"
            counts[name] = count
    return counts
