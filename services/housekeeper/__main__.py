"""The housekeeper's process: `python -m services.housekeeper`, `atelier-housekeeper`."""

import asyncio
import signal
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from database.pool import UNREACHABLE_ERRORS, Pool, open_pool
from database.secrets_directory import secrets_directory
from services.housekeeper.duty import Duty, keep_doing
from services.housekeeper.duty_tally import DutyTally
from services.housekeeper.energy_hours import EnergyHours
from services.housekeeper.forgotten_objects import ForgottenObjects
from services.housekeeper.invariant_watch import InvariantWatch
from services.housekeeper.invoice_drafts import InvoiceDrafts
from services.housekeeper.late_energy import LateEnergy
from services.housekeeper.ledger_sealing import CreditExpiry, LedgerSealing
from services.housekeeper.lost_work import LostWork
from services.housekeeper.metrics import housekeeper_exposition
from services.housekeeper.missing_tokens import MissingTokens
from services.housekeeper.settings import Settings
from services.housekeeper.tenant_deletions import TenantDeletions
from services.housekeeper.unattended_jobs import UnattendedJobs
from services.housekeeper.usage_roll_ups import UsageRollUps
from services.liveness.event_loop import run_watched
from services.log import configure_log
from services.metrics.database_looks import DatabaseLook, only_ask, serving_with_database
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
        parts = _parts(settings, pool)
        duties = _duties(settings, pool, parts)
        tally = DutyTally()
        async with _serving_metrics(settings, pool, parts, tally):
            log.info("housekeeper_started", duties=[duty.name for duty in duties])
            await asyncio.gather(
                *(keep_doing(duty, pool=pool, tally=tally, stop=stop) for duty in duties)
            )
    log.info("housekeeper_ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The duties that count what they find."""

    lost_work: LostWork
    missing_tokens: MissingTokens
    invariants: InvariantWatch


def _parts(settings: Settings, pool: Pool) -> _Parts:
    return _Parts(
        lost_work=LostWork(pool, lease_seconds=settings.lease_seconds),
        missing_tokens=MissingTokens(pool, brokers=settings.brokers),
        invariants=InvariantWatch(pool),
    )


def _serving_metrics(
    settings: Settings, pool: Pool, parts: _Parts, tally: DutyTally
) -> AbstractAsyncContextManager[None]:
    database = DatabaseLook(only_ask)
    exposition = housekeeper_exposition(
        duties=tally,
        lost_work=parts.lost_work,
        missing_tokens=parts.missing_tokens,
        invariants=parts.invariants,
        database=database,
        pool=pool,
    )
    address = settings.metrics_listen_address
    return serving_with_database(exposition, address, look=database, pool=pool)


def _duties(settings: Settings, pool: Pool, parts: _Parts) -> list[Duty]:
    unattended_jobs = UnattendedJobs(pool, unattended_seconds=settings.unattended_seconds)
    tenant_deletions = TenantDeletions(
        pool,
        ForgottenObjects(ObjectStoreDoor(settings.objects_url)),
        grace_seconds=settings.deletion_grace_seconds,
        waits_for_fleet=settings.deletion_waits_for_fleet,
    )
    return [
        Duty(name="lost work", period_seconds=settings.sweep_seconds, work=parts.lost_work.sweep),
        Duty(
            name="missing tokens",
            period_seconds=settings.sweep_seconds,
            work=parts.missing_tokens.sweep,
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
            work=parts.invariants.check,
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
