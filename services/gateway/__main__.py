"""The gateway's process: `python -m services.gateway`, `atelier-gateway`.

`atelier-gateway` serves until SIGTERM or SIGINT; `atelier-gateway bootstrap` makes the first
operator's key and prints it, once.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc.aio
import structlog
from grpc_health.v1 import health
from pydantic import ValidationError

from database.pool import UNREACHABLE_ERRORS, Pool, open_pool
from database.wakeups import Wakeups
from metering.energy_factors import read_energy_factors
from metering.invoice_document import Party
from metering.invoice_drafts import Issuer
from services.gateway.admission import AdmissionGate
from services.gateway.api_key_service import ApiKeyService
from services.gateway.attendance import Attendance
from services.gateway.audit_service import AuditService
from services.gateway.audit_trail import AuditTrail
from services.gateway.authentication import Authenticator
from services.gateway.billing_service import BillingService
from services.gateway.bootstrap import make_first_operator_key
from services.gateway.call_guard import CallGuard
from services.gateway.diagnosis.checks import Diagnosis
from services.gateway.draining import Drain
from services.gateway.errors import AddressTakenError, OperatorKeyExistsError
from services.gateway.fleet_service import FleetService
from services.gateway.image_service import ImageService
from services.gateway.installation_service import InstallationService
from services.gateway.job_service import JobService
from services.gateway.job_watch import JobWatch
from services.gateway.key_directory import StoredKeyDirectory
from services.gateway.key_lookups import KeyLookups, LookupLimits
from services.gateway.model_service import ModelService
from services.gateway.orders import JobOrders
from services.gateway.page_tokens import PageTokens
from services.gateway.peer_addresses import PeerAddresses
from services.gateway.pictures import PictureReader
from services.gateway.recorder_client import open_recorder_client
from services.gateway.request_validation import load_request_rules
from services.gateway.server import SERVICER_TYPES, Servicers, build_server, listen, set_serving
from services.gateway.services_table import not_implemented_calls
from services.gateway.settings import Settings, load_key_settings, load_settings
from services.gateway.tenant_service import TenantService
from services.gateway.token_dispatch import TokenDispatch
from services.gateway.usage_service import UsageService
from services.jobs.errors import CatalogueError
from services.jobs.model_catalogue import ModelCatalogue, load_catalogue
from services.log import configure_log
from services.object_store import ObjectStoreDoor
from tenants.errors import TenantError
from tenants.run_directory import RunDirectory

log = structlog.get_logger()


def main() -> None:
    """Serve, or make the first operator's key."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", nargs="?", choices=["serve", "bootstrap"], default="serve")
    parser.add_argument(
        "--another", action="store_true", help="bootstrap: although there is a key already"
    )
    arguments = parser.parse_args()
    try:
        if arguments.command == "bootstrap":
            _bootstrap(another=arguments.another)
        else:
            _serve()
    except (
        ValidationError,
        CatalogueError,
        TenantError,
        AddressTakenError,
        OperatorKeyExistsError,
        OSError,
        *UNREACHABLE_ERRORS,
    ) as error:
        sys.exit(f"atelier-gateway: {error}")


def _bootstrap(*, another: bool) -> None:
    settings = load_key_settings()
    key = asyncio.run(
        make_first_operator_key(
            settings.operator_database_url.get_secret_value(),
            pepper=settings.key_pepper.get_secret_value().encode(),
            another=another,
        )
    )
    print(key)


def _serve() -> None:
    configure_log("gateway")
    asyncio.run(_serve_until_told_to_stop(load_settings()))


async def _serve_until_told_to_stop(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings) as port:
        log.info("serving", address=settings.listen_address, port=port)
        await stop.wait()
        log.info("draining")
    log.info("gateway_ended")


@asynccontextmanager
async def serving(settings: Settings) -> AsyncGenerator[int]:
    """Serve for as long as the block runs, then drain; yields the port."""
    catalogue = load_catalogue(settings.model_catalogue_path)
    run = RunDirectory(settings.run_directory)
    database_url = settings.database_url.get_secret_value()
    async with (
        open_pool(
            database_url,
            size_max=settings.database_connections_max,
            application_name="gateway",
        ) as pool,
        open_pool(
            settings.operator_database_url.get_secret_value(),
            size_max=settings.operator_database_connections_max,
            application_name="gateway-operator",
        ) as operator_pool,
        open_recorder_client(settings.recorder) as recorder,
    ):
        wakeups = Wakeups(database_url, channel="atelier_jobs")
        store = ObjectStoreDoor(settings.objects_url)
        await store.look()
        lookups = _key_lookups(settings, pool)
        key_news = Wakeups(database_url, channel="atelier_keys", heard=lookups.forget)
        gateway = _join(
            settings,
            lookups=lookups,
            catalogue=catalogue,
            pool=pool,
            operator_pool=operator_pool,
            pictures=PictureReader(store=store, spool=recorder),
            diagnosis=Diagnosis(
                operator_pool=operator_pool,
                run=run,
                brokers=settings.brokers,
                recorder=recorder,
                catalogue=catalogue,
                catalogue_folder=settings.model_catalogue_path.resolve().parent,
                objects_url=settings.objects_url,
            ),
            wakeups=wakeups,
        )
        async with wakeups.listening(), key_news.listening(), gateway.running() as port:
            yield port


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What starts and stops together."""

    server: grpc.aio.Server
    port: int
    health_servicer: health.aio.HealthServicer
    drain: Drain
    wakeups: Wakeups
    dispatch: TokenDispatch
    attendance: Attendance
    audit: AuditTrail
    drain_seconds: float

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
            self.wakeups.wake_all()
            await self.server.stop(self.drain_seconds)
            await self.attendance.finish()
            await self.dispatch.finish()
            await self.audit.finish()


def _join(
    settings: Settings,
    *,
    lookups: KeyLookups,
    catalogue: ModelCatalogue,
    pool: Pool,
    operator_pool: Pool,
    pictures: PictureReader,
    diagnosis: Diagnosis,
    wakeups: Wakeups,
) -> Gateway:
    page_tokens = PageTokens(settings.page_token_secret.get_secret_value().encode())
    drain = Drain()
    dispatch = TokenDispatch(settings.brokers)
    health_servicer = health.aio.HealthServicer()
    watch = JobWatch(
        pool=pool,
        wakeups=wakeups,
        tokens=page_tokens,
        drain=drain,
        keep_alive_seconds=settings.keep_alive_seconds,
    )
    attendance = Attendance(pool, period_seconds=settings.attendance_seconds)
    servicers = _servicers(
        settings,
        catalogue=catalogue,
        pool=pool,
        operator_pool=operator_pool,
        page_tokens=page_tokens,
        orders=JobOrders(pool=pool, dispatch=dispatch, now=_now),
        watch=watch,
        pictures=pictures,
        diagnosis=diagnosis,
        attendance=attendance,
        drain=drain,
    )
    audit = AuditTrail(pool, refusals_per_minute_max=settings.audited_refusals_per_minute_max)
    guard = _guard(settings, pool=pool, lookups=lookups, drain=drain, audit=audit)
    server = build_server(
        guard=guard,
        servicers=servicers,
        health_servicer=health_servicer,
        request_bytes_max=settings.request_bytes_max,
        streams_per_connection_max=settings.streams_per_connection_max,
    )
    port = listen(server, settings.listen_address, tls=settings.tls_files)
    return Gateway(
        server=server,
        port=port,
        health_servicer=health_servicer,
        drain=drain,
        wakeups=wakeups,
        dispatch=dispatch,
        attendance=attendance,
        audit=audit,
        drain_seconds=settings.drain_seconds,
    )


def _servicers(
    settings: Settings,
    *,
    catalogue: ModelCatalogue,
    pool: Pool,
    operator_pool: Pool,
    page_tokens: PageTokens,
    orders: JobOrders,
    watch: JobWatch,
    pictures: PictureReader,
    diagnosis: Diagnosis,
    attendance: Attendance,
    drain: Drain,
) -> Servicers:
    """One servicer for each service of the contract."""
    return Servicers(
        jobs=JobService(
            pool=pool,
            catalogue=catalogue,
            orders=orders,
            watch=watch,
            pictures=pictures,
            page_tokens=page_tokens,
            now=_now,
        ),
        images=ImageService(
            pool=pool,
            catalogue=catalogue,
            orders=orders,
            watch=watch,
            pictures=pictures,
            attendance=attendance,
        ),
        models=ModelService(pool=pool, catalogue=catalogue, page_tokens=page_tokens),
        usage=_usage_service(settings, pool, page_tokens),
        billing=_billing_service(settings, pool, operator_pool, page_tokens),
        tenants=TenantService(
            pool=pool, operator_pool=operator_pool, catalogue=catalogue, page_tokens=page_tokens
        ),
        api_keys=ApiKeyService(
            pool=pool,
            operator_pool=operator_pool,
            pepper=_pepper(settings),
            rotation_grace=timedelta(seconds=settings.key_rotation_grace_seconds),
            page_tokens=page_tokens,
            now=_now,
        ),
        fleet=FleetService(operator_pool=operator_pool, page_tokens=page_tokens, drain=drain),
        audit=AuditService(pool=pool, operator_pool=operator_pool, page_tokens=page_tokens),
        installation=InstallationService(diagnosis=diagnosis, now=_now),
    )


def _usage_service(settings: Settings, pool: Pool, page_tokens: PageTokens) -> UsageService:
    return UsageService(
        pool=pool,
        page_tokens=page_tokens,
        issuer_name=settings.seller_legal_name,
        energy_factors=_issuer(settings).energy_factors,
        now=_now,
    )


def _billing_service(
    settings: Settings, pool: Pool, operator_pool: Pool, page_tokens: PageTokens
) -> BillingService:
    return BillingService(
        pool=pool,
        operator_pool=operator_pool,
        issuer=_issuer(settings),
        invoice_grace=timedelta(seconds=settings.invoice_grace_seconds),
        page_tokens=page_tokens,
        now=_now,
    )


def _key_lookups(settings: Settings, pool: Pool) -> KeyLookups:
    return KeyLookups(
        StoredKeyDirectory(pool),
        LookupLimits(
            cache_seconds=settings.key_cache_seconds,
            strangers_per_minute_max=settings.unknown_key_lookups_per_minute_max,
        ),
    )


def _guard(
    settings: Settings, *, pool: Pool, lookups: KeyLookups, drain: Drain, audit: AuditTrail
) -> CallGuard:
    """What every call passes before its servicer sees it."""
    return CallGuard(
        authenticator=Authenticator(
            lookups, pepper=_pepper(settings), tenants=StoredKeyDirectory(pool)
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


def _issuer(settings: Settings) -> Issuer:
    path = settings.energy_factors_path
    return Issuer(
        seller=Party(
            legal_name=settings.seller_legal_name,
            postal_address=settings.seller_postal_address,
            vat_id=settings.seller_vat_id,
        ),
        energy_factors=read_energy_factors(path) if path else (),
    )


def _pepper(settings: Settings) -> bytes:
    return settings.key_pepper.get_secret_value().encode()


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
