"""The housekeeper's process: `python -m services.housekeeper`, `atelier-housekeeper`."""

import asyncio
import signal
import sys

import structlog
from pydantic import ValidationError

from database.pool import UNREACHABLE_ERRORS, Pool, open_pool
from database.secrets_directory import secrets_directory
from services.housekeeper.duty import Duty, keep_doing
from services.housekeeper.energy_hours import EnergyHours
from services.housekeeper.forgotten_objects import ForgottenObjects
from services.housekeeper.invariant_watch import InvariantWatch
from services.housekeeper.invoice_drafts import InvoiceDrafts
from services.housekeeper.late_energy import LateEnergy
from services.housekeeper.ledger_sealing import CreditExpiry, LedgerSealing
from services.housekeeper.lost_work import LostWork
from services.housekeeper.missing_tokens import MissingTokens
from services.housekeeper.settings import Settings
from services.housekeeper.tenant_deletions import TenantDeletions
from services.housekeeper.unattended_jobs import UnattendedJobs
from services.housekeeper.usage_roll_ups import UsageRollUps
from services.liveness.event_loop import run_watched
from services.log import configure_log
from services.object_store import ObjectStoreDoor

log = structlog.get_logger()

# Each duty holds one connection for its lock while it works with another.
_CONNECTIONS_MAX = 16


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    configure_log("housekeeper")
    try:
        settings = Settings(_secrets_dir=secrets_directory())  # pyright: ignore[reportCallIssue]
        run_watched(_run(settings))
    except (ValidationError, *UNREACHABLE_ERRORS) as error:
        sys.exit(f"atelier-housekeeper: {error}")


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_pool(
        settings.database_url.get_secret_value(),
        size_max=_CONNECTIONS_MAX,
        application_name="housekeeper",
    ) as pool:
        duties = _duties(settings, pool)
        log.info("housekeeper_started", duties=[duty.name for duty in duties])
        await asyncio.gather(*(keep_doing(duty, pool=pool, stop=stop) for duty in duties))
    log.info("housekeeper_ended")


def _duties(settings: Settings, pool: Pool) -> list[Duty]:
    lost_work = LostWork(pool, lease_seconds=settings.lease_seconds)
    unattended_jobs = UnattendedJobs(pool, unattended_seconds=settings.unattended_seconds)
    missing_tokens = MissingTokens(pool, brokers=settings.brokers)
    tenant_deletions = TenantDeletions(
        pool,
        ForgottenObjects(ObjectStoreDoor(settings.objects_url)),
        grace_seconds=settings.deletion_grace_seconds,
        waits_for_fleet=settings.deletion_waits_for_fleet,
    )
    return [
        Duty(name="lost work", period_seconds=settings.sweep_seconds, work=lost_work.sweep),
        Duty(
            name="missing tokens", period_seconds=settings.sweep_seconds, work=missing_tokens.sweep
        ),
        Duty(
            name="unattended jobs",
            period_seconds=settings.sweep_seconds,
            work=unattended_jobs.sweep,
        ),
        Duty(
            name="ledger sealing",
            period_seconds=settings.seal_seconds,
            work=LedgerSealing(pool).sweep,
        ),
        Duty(
            name="credit expiry",
            period_seconds=settings.expiry_seconds,
            work=CreditExpiry(pool).sweep,
        ),
        Duty(
            name="usage roll-ups",
            period_seconds=settings.roll_up_seconds,
            work=UsageRollUps(pool).sweep,
        ),
        Duty(
            name="late energy",
            period_seconds=settings.roll_up_seconds,
            work=LateEnergy(pool).sweep,
        ),
        Duty(
            name="invoice drafts",
            period_seconds=settings.draft_seconds,
            work=InvoiceDrafts(pool).sweep,
        ),
        Duty(
            name="invariants",
            period_seconds=settings.invariant_seconds,
            work=InvariantWatch(pool).check,
        ),
        Duty(
            name="energy hours",
            period_seconds=settings.sealing_seconds,
            work=EnergyHours(pool).sweep,
        ),
        Duty(
            name="tenant deletions",
            period_seconds=settings.deletion_seconds,
            work=tenant_deletions.sweep,
        ),
    ]


if __name__ == "__main__":
    main()
