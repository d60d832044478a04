"""A tenant's clock becomes another: budgets and tiers of the period that runs go on.

What a period has counted stays counted, on whatever clock it ends: no budget is there twice, and no
tier is climbed anew. Invoices do the same by beginning where the last one ended.
"""

from database.pool import Connection
from metering import budget_periods, period_counters
from metering.accounts import lock_accounts
from tenants.tenant_store import Tenant


async def move_clock(conn: Connection, old: Tenant, new: Tenant) -> None:
    """Take a tenant's running periods to another time zone; its row is locked and changed."""
    # First the budgets, then the accounts, as everywhere: acceptances and captures wait.
    await budget_periods.move_ends(
        conn, new.tenant_id, old_time_zone=old.time_zone, new_time_zone=new.time_zone
    )
    await lock_accounts(conn, tenant_id=new.tenant_id, currency=new.currency)
    await period_counters.move_starts(
        conn, new.tenant_id, old_time_zone=old.time_zone, new_time_zone=new.time_zone
    )
