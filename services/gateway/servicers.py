"""One servicer for each service of the contract, and what each is made of."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, get_type_hints

import grpc.aio

from atelier.v1.api_key_service_pb2_grpc import add_ApiKeyServiceServicer_to_server
from atelier.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from atelier.v1.billing_service_pb2_grpc import add_BillingServiceServicer_to_server
from atelier.v1.fleet_service_pb2_grpc import add_FleetServiceServicer_to_server
from atelier.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from atelier.v1.image_service_pb2_grpc import add_ImageServiceServicer_to_server
from atelier.v1.installation_service_pb2_grpc import add_InstallationServiceServicer_to_server
from atelier.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from atelier.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from atelier.v1.tenant_service_pb2_grpc import add_TenantServiceServicer_to_server
from atelier.v1.usage_service_pb2_grpc import add_UsageServiceServicer_to_server
from metering.energy_factors import read_energy_factors
from metering.invoice_document import Party
from metering.invoice_drafts import Issuer
from services.gateway.api_key_service import ApiKeyService
from services.gateway.attendance import Attendance
from services.gateway.audit_service import AuditService
from services.gateway.billing_service import BillingService
from services.gateway.diagnosis.checks import Diagnosis
from services.gateway.draining import Drain
from services.gateway.fleet_service import FleetService
from services.gateway.identity_service import IdentityService
from services.gateway.image_service import ImageService
from services.gateway.installation_service import InstallationService
from services.gateway.job_service import JobService
from services.gateway.job_watch import JobWatch
from services.gateway.model_service import ModelService
from services.gateway.orders import JobOrders
from services.gateway.page_tokens import PageTokens
from services.gateway.pictures import PictureReader
from services.gateway.reach import Reach
from services.gateway.settings import Settings
from services.gateway.tenant_service import TenantService
from services.gateway.token_dispatch import TokenDispatch
from services.gateway.usage_service import UsageService
from tenants.run_directory import RunDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Servicers:
    """One object for each service of the contract."""

    jobs: JobService
    images: ImageService
    models: ModelService
    usage: UsageService
    billing: BillingService
    tenants: TenantService
    api_keys: ApiKeyService
    identities: IdentityService
    fleet: FleetService
    audit: AuditService
    installation: InstallationService

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register them."""
        add_JobServiceServicer_to_server(self.jobs, server)
        add_ImageServiceServicer_to_server(self.images, server)
        add_ModelServiceServicer_to_server(self.models, server)
        add_UsageServiceServicer_to_server(self.usage, server)
        add_BillingServiceServicer_to_server(self.billing, server)
        add_TenantServiceServicer_to_server(self.tenants, server)
        add_ApiKeyServiceServicer_to_server(self.api_keys, server)
        add_IdentityServiceServicer_to_server(self.identities, server)
        add_FleetServiceServicer_to_server(self.fleet, server)
        add_AuditServiceServicer_to_server(self.audit, server)
        add_InstallationServiceServicer_to_server(self.installation, server)


# In the order of the contract's files; what they leave out answers UNIMPLEMENTED.
SERVICER_TYPES: Final = tuple(get_type_hints(Servicers).values())


def build_servicers(
    settings: Settings,
    reach: Reach,
    *,
    dispatch: TokenDispatch,
    attendance: Attendance,
    drain: Drain,
) -> Servicers:
    """Make them all; what they share is made here, what ends with the gateway is handed in."""
    page_tokens = PageTokens(settings.page_token_secret.get_secret_value().encode())
    watch = _job_watch(settings, reach, page_tokens, drain)
    orders = JobOrders(pool=reach.pool, dispatch=dispatch, now=_now)
    pictures = PictureReader(store=reach.store, spool=reach.recorder)
    return Servicers(
        jobs=JobService(
            pool=reach.pool,
            catalogue=reach.catalogue,
            orders=orders,
            watch=watch,
            pictures=pictures,
            page_tokens=page_tokens,
            now=_now,
        ),
        images=ImageService(
            pool=reach.pool,
            catalogue=reach.catalogue,
            orders=orders,
            watch=watch,
            pictures=pictures,
            attendance=attendance,
        ),
        models=ModelService(pool=reach.pool, catalogue=reach.catalogue, page_tokens=page_tokens),
        usage=_usage_service(settings, reach, page_tokens),
        billing=_billing_service(settings, reach, page_tokens),
        tenants=TenantService(
            pool=reach.pool,
            operator_pool=reach.operator_pool,
            catalogue=reach.catalogue,
            page_tokens=page_tokens,
        ),
        api_keys=_api_key_service(settings, reach, page_tokens),
        identities=IdentityService(
            pool=reach.pool,
            operator_pool=reach.operator_pool,
            issuers={url: one.issuer for url, one in reach.trusted.items()},
            page_tokens=page_tokens,
        ),
        fleet=FleetService(operator_pool=reach.operator_pool, page_tokens=page_tokens, drain=drain),
        audit=AuditService(
            pool=reach.pool, operator_pool=reach.operator_pool, page_tokens=page_tokens
        ),
        installation=InstallationService(diagnosis=_diagnosis(settings, reach), now=_now),
    )


def _job_watch(settings: Settings, reach: Reach, page_tokens: PageTokens, drain: Drain) -> JobWatch:
    return JobWatch(
        pool=reach.pool,
        wakeups=reach.job_news,
        tokens=page_tokens,
        drain=drain,
        keep_alive_seconds=settings.keep_alive_seconds,
    )


def _usage_service(settings: Settings, reach: Reach, page_tokens: PageTokens) -> UsageService:
    return UsageService(
        pool=reach.pool,
        page_tokens=page_tokens,
        issuer_name=settings.seller_legal_name,
        energy_factors=_issuer(settings).energy_factors,
        now=_now,
    )


def _billing_service(settings: Settings, reach: Reach, page_tokens: PageTokens) -> BillingService:
    return BillingService(
        pool=reach.pool,
        operator_pool=reach.operator_pool,
        issuer=_issuer(settings),
        invoice_grace=timedelta(seconds=settings.invoice_grace_seconds),
        page_tokens=page_tokens,
        now=_now,
    )


def _api_key_service(settings: Settings, reach: Reach, page_tokens: PageTokens) -> ApiKeyService:
    return ApiKeyService(
        pool=reach.pool,
        operator_pool=reach.operator_pool,
        pepper=settings.key_pepper.get_secret_value().encode(),
        rotation_grace=timedelta(seconds=settings.key_rotation_grace_seconds),
        page_tokens=page_tokens,
        now=_now,
    )


def _diagnosis(settings: Settings, reach: Reach) -> Diagnosis:
    return Diagnosis(
        operator_pool=reach.operator_pool,
        run=RunDirectory(settings.run_directory),
        brokers=settings.brokers,
        recorder=reach.recorder,
        catalogue=reach.catalogue,
        catalogue_folder=settings.model_catalogue_path.resolve().parent,
        objects_url=settings.objects_url,
        trusted=reach.trusted.values(),
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


def _now() -> datetime:
    return datetime.now(UTC)
