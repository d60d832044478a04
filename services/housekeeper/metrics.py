"""What the housekeeper tells Prometheus."""

from database.pool import Pool
from services.housekeeper.duty_tally import DutyTally
from services.housekeeper.invariant_watch import InvariantWatch
from services.housekeeper.lost_work import LostWork
from services.housekeeper.missing_tokens import MissingTokens
from services.metrics import names
from services.metrics.database_looks import DatabaseLook
from services.metrics.exposition import Exposition
from services.metrics.metric import Sample, counted
from services.metrics.pools import pool_source


def housekeeper_exposition(
    *,
    duties: DutyTally,
    lost_work: LostWork,
    missing_tokens: MissingTokens,
    invariants: InvariantWatch,
    database: DatabaseLook,
    pool: Pool,
) -> Exposition:
    """Join what the duties count."""
    exposition = Exposition("housekeeper")
    exposition.add("database", database.samples)
    exposition.add("pools", pool_source(pool))
    exposition.add("duties", lambda: _duties(duties))
    exposition.add("invariants", lambda: _violations(invariants))
    exposition.add("lost work", lambda: _lost(lost_work, missing_tokens))
    return exposition


def _duties(tally: DutyTally) -> list[Sample]:
    rounds = dict(tally.rounds)
    return [
        *counted(names.DUTY_PERIOD, tally.periods),
        *counted(names.DUTY_LAST_SUCCESS, tally.last_success),
        *(Sample(names.DUTY_ROUNDS, count, labels) for labels, count in rounds.items()),
    ]


def _violations(watch: InvariantWatch) -> list[Sample]:
    return [
        Sample(names.VIOLATIONS, count, (name, look))
        for look, found in dict(watch.found).items()
        for name, count in found.items()
    ]


def _lost(lost_work: LostWork, missing_tokens: MissingTokens) -> list[Sample]:
    return [
        *counted(names.ATTEMPTS_LOST, lost_work.lost_attempts),
        Sample(names.SESSIONS_LOST, lost_work.lost_session_count),
        Sample(names.IMAGES_EXPIRED, lost_work.expired_count),
        Sample(names.TOKENS_REPLACED, missing_tokens.replaced_count),
    ]
