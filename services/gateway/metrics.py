"""What the gateway tells Prometheus."""

from contextlib import AbstractAsyncContextManager

from database.pool import Pool
from services.gateway.audit_trail import AuditTrail
from services.gateway.call_guard import CallGuard
from services.gateway.token_dispatch import TokenDispatch
from services.metrics import names
from services.metrics.database_looks import DatabaseLook, only_ask, serving_with_database
from services.metrics.exposition import Exposition
from services.metrics.metric import Sample
from services.metrics.pools import pool_source


def serving_gateway_metrics(
    address: str | None,
    *,
    guard: CallGuard,
    dispatch: TokenDispatch,
    audit: AuditTrail,
    pools: tuple[Pool, Pool],
) -> AbstractAsyncContextManager[None]:
    """Answer scrapes at an address while this is open; without one: nothing."""
    database = DatabaseLook(only_ask)
    exposition = gateway_exposition(
        guard=guard, dispatch=dispatch, audit=audit, database=database, pools=pools
    )
    return serving_with_database(exposition, address, look=database, pool=pools[0])


def gateway_exposition(
    *,
    guard: CallGuard,
    dispatch: TokenDispatch,
    audit: AuditTrail,
    database: DatabaseLook,
    pools: tuple[Pool, ...],
) -> Exposition:
    """Join what the parts of the gateway count."""
    exposition = Exposition("gateway")
    exposition.add("database", database.samples)
    exposition.add("pools", pool_source(*pools))
    exposition.add("calls", guard.tally.samples)
    exposition.add_histogram(guard.tally.seconds)
    exposition.add("calls in flight", lambda: _in_flight(guard))
    exposition.add(
        "left over",
        lambda: [
            Sample(names.TOKENS_LEFT, dispatch.tokens_left),
            Sample(names.AUDIT_EVENTS_LOST, audit.lost_count),
        ],
    )
    return exposition


def _in_flight(guard: CallGuard) -> list[Sample]:
    return [
        Sample(metric, value, (kind,))
        for kind, gate in (("unary", guard.calls), ("stream", guard.streams))
        for metric, value in (
            (names.CALLS_IN_FLIGHT, gate.calls_in_flight),
            (names.CALLS_IN_FLIGHT_MAX, gate.calls_max),
        )
    ]
