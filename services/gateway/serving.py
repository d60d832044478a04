"""A gateway from its first call to its last: put together, serving, draining."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from time import time

import grpc.aio
from grpc_health.v1 import health

from services.gateway.admission import AdmissionGate
from services.gateway.attendance import Attendance
from services.gateway.audit_trail import AuditTrail
from services.gateway.authentication import Authenticator
from services.gateway.call_guard import CallGuard
from services.gateway.draining import Drain
from services.gateway.identity.token_callers import TokenCallers
from services.gateway.identity.token_verification import TokenVerifier
from services.gateway.key_directory import StoredKeyDirectory
from services.gateway.metrics import serving_gateway_metrics
from services.gateway.peer_addresses import PeerAddresses
from services.gateway.reach import Reach, open_reach
from services.gateway.request_validation import load_request_rules
from services.gateway.server import build_server, listen, set_serving
from services.gateway.servicers import SERVICER_TYPES, build_servicers
from services.gateway.services_table import not_implemented_calls
from services.gateway.settings import Settings
from services.gateway.token_dispatch import TokenDispatch


@asynccontextmanager
async def serving(settings: Settings) -> AsyncGenerator[int]:
    """Serve for as long as the block runs, then drain; yields the port."""
    async with open_reach(settings) as reach:
        gateway = _assemble(settings, reach)
        async with (
            gateway.serving_metrics(settings.metrics_listen_address),
            gateway.running() as port,
        ):
            yield port


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gateway:
    """What starts and stops together."""

    guard: CallGuard
    server: grpc.aio.Server
    port: int
    health_servicer: health.aio.HealthServicer
    drain: Drain
    reach: Reach
    dispatch: TokenDispatch
    attendance: Attendance
    audit: AuditTrail
    drain_seconds: float

    def serving_metrics(self, address: str | None) -> AbstractAsyncContextManager[None]:
        """Answer scrapes at an address, if there is one."""
        return serving_gateway_metrics(
            address,
            guard=self.guard,
            dispatch=self.dispatch,
            audit=self.audit,
            pools=(self.reach.pool, self.reach.operator_pool),
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[int]:
        """Take calls; at the end refuse new ones, end the streams, let the others finish."""
        self.audit.start()
        await self.server.start()
        await set_serving(self.health_servicer)
        try:
            yield self.port
        finally:
            await self.health_servicer.enter_graceful_shutdown()
            self.drain.begin()
            self.reach.job_news.wake_all()
            await self.server.stop(self.drain_seconds)
            await self.attendance.finish()
            await self.dispatch.finish()
            await self.audit.finish()


def _assemble(settings: Settings, reach: Reach) -> _Gateway:
    drain = Drain()
    dispatch = TokenDispatch(settings.brokers)
    attendance = Attendance(reach.pool, period_seconds=settings.attendance_seconds)
    audit = AuditTrail(reach.pool, refusals_per_minute_max=settings.audited_refusals_per_minute_max)
    health_servicer = health.aio.HealthServicer()
    guard = _guard(settings, reach, drain=drain, audit=audit)
    server = build_server(
        guard=guard,
        servicers=build_servicers(
            settings, reach, dispatch=dispatch, attendance=attendance, drain=drain
        ),
        health_servicer=health_servicer,
        request_bytes_max=settings.request_bytes_max,
        streams_per_connection_max=settings.streams_per_connection_max,
    )
    return _Gateway(
        guard=guard,
        server=server,
        port=listen(server, settings.listen_address, tls=settings.tls_files),
        health_servicer=health_servicer,
        drain=drain,
        reach=reach,
        dispatch=dispatch,
        attendance=attendance,
        audit=audit,
        drain_seconds=settings.drain_seconds,
    )


def _guard(settings: Settings, reach: Reach, *, drain: Drain, audit: AuditTrail) -> CallGuard:
    """What every call passes before its servicer sees it."""
    return CallGuard(
        authenticator=Authenticator(
            reach.lookups,
            pepper=settings.key_pepper.get_secret_value().encode(),
            tenants=StoredKeyDirectory(reach.pool),
            tokens=_tokens(settings, reach),
        ),
        rules=load_request_rules(),
        calls=AdmissionGate(
            calls_max=settings.calls_in_flight_max,
            calls_per_tenant_max=settings.calls_in_flight_per_tenant_max,
        ),
        streams=AdmissionGate(
            calls_max=settings.streams_max,
            calls_per_tenant_max=settings.streams_per_tenant_max,
        ),
        drain=drain,
        audit=audit,
        peers=PeerAddresses(trusted_proxies=settings.trusted_proxies),
        unary_deadline_seconds=settings.unary_deadline_seconds,
        calls_per_minute_per_tenant_max=settings.calls_per_minute_per_tenant_max,
        stranger_hold_seconds=settings.stranger_hold_seconds,
        certificates_name_tenants=settings.certificates_name_tenants,
        not_implemented=not_implemented_calls(SERVICER_TYPES),
    )


def _tokens(settings: Settings, reach: Reach) -> TokenCallers:
    verifier = TokenVerifier(
        reach.trusted,
        strangers_per_minute_max=settings.unknown_key_lookups_per_minute_max,
        now_seconds=time,
    )
    return TokenCallers(verifier, reach.bindings)
