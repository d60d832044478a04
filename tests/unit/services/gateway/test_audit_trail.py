import asyncio
from dataclasses import replace

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from atelier.v1 import (
    api_key_service_pb2,
    fleet_service_pb2,
    job_service_pb2,
    tenant_service_pb2,
)
from services.gateway.audit_trail import AuditedCall, AuditTrail, changes_something
from services.gateway.callers import Caller
from services.gateway.method_rights import RIGHTS
from tenants.api_keys import Role
from tenants.audit_store import NewAuditEvent
from tenants.ids import KeyId, TenantId

READING = {
    "DownloadImage",
    "DownloadInvoice",
    "ExportUsage",
    "GetBalance",
    "GetEnergyReconciliation",
    "GetImage",
    "GetInstallation",
    "GetInvoice",
    "GetJob",
    "GetModel",
    "GetTenant",
    "QueryMargin",
    "QueryUsage",
    "SimulatePrice",
    "VerifyInstallation",
    "VerifyLedger",
    "WatchGpus",
    "WatchJob",
}


def caller(tenant_id: str, role: Role) -> Caller:
    return Caller(
        tenant_id=TenantId(tenant_id), key_id=KeyId("k"), role=role, project="", suspended=False
    )


def trail(refusals_per_minute_max: int = 60) -> AuditTrail:
    # It is never started, so it asks the pool for nothing.
    return AuditTrail(None, refusals_per_minute_max=refusals_per_minute_max)  # pyright: ignore[reportArgumentType]


def begun(who: Caller) -> AuditedCall:
    return trail().begin("/atelier.v1.JobService/CreateJob", who, address="192.0.2.1")


def test_calls_that_read_are_known_by_name_and_all_others_are_written_down() -> None:
    reading = {name.rpartition("/")[2] for name in RIGHTS if not changes_something(name)}

    assert {name for name in reading if not name.startswith("List")} == READING


@pytest.mark.parametrize(
    ("request_message", "tenant_id", "resource_name"),
    [
        (job_service_pb2.CreateJobRequest(parent="tenants/-"), "acme", "tenants/acme"),
        (
            job_service_pb2.CancelJobRequest(name="tenants/zeta/jobs/1"),
            "acme",
            "tenants/zeta/jobs/1",
        ),
        (
            api_key_service_pb2.RevokeApiKeyRequest(name="tenants/-/apiKeys/1"),
            "acme",
            "tenants/acme/apiKeys/1",
        ),
    ],
)
def test_a_tenants_call_concerns_the_tenant_whatever_it_names(
    request_message: Message, tenant_id: str, resource_name: str
) -> None:
    call = begun(caller("acme", Role.ADMIN))

    call.read(request_message)

    assert (call.event.tenant_id, call.event.resource_name) == (tenant_id, resource_name)


@pytest.mark.parametrize(
    ("request_message", "tenant_id", "resource_name"),
    [
        (tenant_service_pb2.SuspendTenantRequest(name="tenants/zeta"), "zeta", "tenants/zeta"),
        (tenant_service_pb2.CreateTenantRequest(tenant_id="zeta"), "zeta", "tenants/zeta"),
        (
            fleet_service_pb2.DrainWorkerRequest(name="gpus/0/worker"),
            "operator",
            "gpus/0/worker",
        ),
    ],
)
def test_an_operators_call_concerns_whom_it_names(
    request_message: Message, tenant_id: str, resource_name: str
) -> None:
    call = begun(caller("operator", Role.OPERATOR))

    call.read(request_message)

    assert (call.event.tenant_id, call.event.resource_name) == (tenant_id, resource_name)


def test_the_fields_of_an_update_are_named() -> None:
    call = begun(caller("operator", Role.OPERATOR))

    call.read(
        tenant_service_pb2.UpdateTenantRequest(
            tenant=tenant_service_pb2.Tenant(name="tenants/zeta"),
            update_mask=FieldMask(paths=["vat_id", "quotas.gpu_weight"]),
        )
    )

    assert call.event.changed_fields == ["vat_id", "quotas.gpu_weight"]


async def test_who_is_refused_again_and_again_does_not_fill_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[NewAuditEvent] = []
    bounded = trail(refusals_per_minute_max=12)
    monkeypatch.setattr(bounded, "_waiting", _Waiting(written))

    for _ in range(100):
        call = bounded.begin("/x.JobService/CreateJob", caller("acme", Role.MEMBER), address="")
        bounded.end(call, code="PERMISSION_DENIED", reason="ROLE_REQUIRED")
    other = replace(caller("acme", Role.MEMBER), key_id=KeyId("other"))
    bounded.end(bounded.begin("/x.JobService/CreateJob", other, address=""), code="X", reason="")

    assert [event.key_id for event in written] == ["k", "k", "other"]
    assert written[0].omitted_count == 0


class _Waiting(asyncio.Queue[NewAuditEvent]):
    def __init__(self, written: list[NewAuditEvent]) -> None:
        super().__init__()
        self._written = written

    def put_nowait(self, item: NewAuditEvent) -> None:
        self._written.append(item)
