"""All duties of the housekeeper, each with how often it is done."""

from dataclasses import dataclass

from database.pool import Pool
from services.housekeeper.duty import Duty
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
from services.object_store import ObjectStoreDoor


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Those duties that count what they find, for whoever tells it to the operator."""

    lost_work: LostWork
    missing_tokens: MissingTokens
    invariants: InvariantWatch


def make_parts(settings: Settings, pool: Pool) -> Parts:
    """Return those that duties and metrics share."""
    return Parts(
        lost_work=LostWork(pool, lease_seconds=settings.lease_seconds),
        missing_tokens=MissingTokens(pool, brokers=settings.brokers),
        invariants=InvariantWatch(pool),
    )


def make_duties(settings: Settings, pool: Pool, parts: Parts) -> list[Duty]:
    """Return every duty; they are independent of one another."""
    unattended_jobs = UnattendedJobs(pool, unattended_seconds=settings.unattended_seconds)
    works = (
        ("lost work", settings.sweep_seconds, parts.lost_work.sweep),
        ("missing tokens", settings.sweep_seconds, parts.missing_tokens.sweep),
        ("unattended jobs", settings.sweep_seconds, unattended_jobs.sweep),
        ("ledger sealing", settings.seal_seconds, LedgerSealing(pool).sweep),
        ("credit expiry", settings.expiry_seconds, CreditExpiry(pool).sweep),
        ("usage roll-ups", settings.roll_up_seconds, UsageRollUps(pool).sweep),
        ("late energy", settings.roll_up_seconds, LateEnergy(pool).sweep),
        ("invoice drafts", settings.draft_seconds, InvoiceDrafts(pool).sweep),
        ("invariants", settings.invariant_seconds, parts.invariants.check),
        ("energy hours", settings.sealing_seconds, EnergyHours(pool).sweep),
        ("tenant deletions", settings.deletion_seconds, _deletions(settings, pool).sweep),
    )
    return [Duty(name=name, period_seconds=period, work=work) for name, period, work in works]


def _deletions(settings: Settings, pool: Pool) -> TenantDeletions:
    return TenantDeletions(
        pool,
        ForgottenObjects(ObjectStoreDoor(settings.objects_url)),
        grace_seconds=settings.deletion_grace_seconds,
        waits_for_fleet=settings.deletion_waits_for_fleet,
    )
