"""Which services there are, and which of their calls are not built yet."""

from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.descriptor import ServiceDescriptor

from atelier.v1 import (
    api_key_service_pb2,
    audit_service_pb2,
    billing_service_pb2,
    fleet_service_pb2,
    identity_service_pb2,
    image_service_pb2,
    installation_service_pb2,
    job_service_pb2,
    model_service_pb2,
    tenant_service_pb2,
    usage_service_pb2,
)

SERVICES: Final[Sequence[ServiceDescriptor]] = (
    job_service_pb2.DESCRIPTOR.services_by_name["JobService"],
    image_service_pb2.DESCRIPTOR.services_by_name["ImageService"],
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
    usage_service_pb2.DESCRIPTOR.services_by_name["UsageService"],
    billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"],
    tenant_service_pb2.DESCRIPTOR.services_by_name["TenantService"],
    api_key_service_pb2.DESCRIPTOR.services_by_name["ApiKeyService"],
    identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"],
    fleet_service_pb2.DESCRIPTOR.services_by_name["FleetService"],
    audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
    installation_service_pb2.DESCRIPTOR.services_by_name["InstallationService"],
)


def not_implemented_calls(servicers: Iterable[type]) -> frozenset[str]:
    """Name the calls (`/atelier.v1.JobService/…`) for which no servicer has code of its own."""
    written = {base.__name__: servicer for servicer in servicers for base in servicer.__mro__}
    return frozenset(
        f"/{service.full_name}/{method.name}"
        for service in SERVICES
        for method in service.methods
        if not _is_written(written.get(f"{service.name}Servicer"), method.name)
    )


def _is_written(servicer: type | None, call: str) -> bool:
    """A servicer inherits every call of its service from generated code; its own is not there."""
    if servicer is None:
        return False
    author = next(base for base in servicer.__mro__ if call in vars(base))
    return not author.__module__.endswith("_pb2_grpc")
