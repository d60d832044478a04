import pytest

from services.gateway.callers import Caller
from services.gateway.errors import CallRefusedError
from services.gateway.method_rights import RIGHTS
from services.gateway.services_table import SERVICES, not_implemented_calls
from tenants.api_keys import Role
from tenants.ids import KeyId, TenantId

OPERATORS_ALONE = {
    "GrantCredit",
    "RefundCredit",
    "CreatePriceVersion",
    "SimulatePrice",
    "CreateCostVersion",
    "ListCosts",
    "QueryMargin",
    "FinalizeInvoice",
    "RecordPayment",
    "VoidInvoice",
    "CreateCreditNote",
    "CreateTenant",
    "ListTenants",
    "UpdateTenant",
    "SuspendTenant",
    "ResumeTenant",
    "DeleteTenant",
    "GetEnergyReconciliation",
    "ListGpus",
    "WatchGpus",
    "ListWorkers",
    "DrainWorker",
    "SetPowerPolicy",
    "CreateIdentityBinding",
    "VerifyInstallation",
}


def caller(role: Role, *, suspended: bool = False) -> Caller:
    return Caller(
        tenant_id=TenantId("acme"),
        key_id=KeyId("k"),
        role=role,
        project="",
        suspended=suspended,
    )


def test_every_call_of_the_contract_has_a_right_and_no_other_has() -> None:
    calls = {
        f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods
    }

    assert set(RIGHTS) == calls


def test_the_calls_of_operators_are_theirs_alone() -> None:
    alone = {
        name.rpartition("/")[2]
        for name, right in RIGHTS.items()
        if right.roles == frozenset({Role.OPERATOR})
    }

    assert alone == OPERATORS_ALONE


def test_nobody_of_the_operators_orders_images() -> None:
    ordering = {name.rpartition("/")[2]: right for name, right in RIGHTS.items() if right.orders}

    assert set(ordering) == {"CreateJob", "RetryFailedImages", "GenerateImage"}
    assert not any(Role.OPERATOR in right.roles for right in ordering.values())


def test_a_suspended_tenant_may_read_and_not_order() -> None:
    suspended = caller(Role.MEMBER, suspended=True)

    RIGHTS["/atelier.v1.JobService/GetJob"].check(suspended, call="GetJob")
    with pytest.raises(CallRefusedError):
        RIGHTS["/atelier.v1.JobService/CreateJob"].check(suspended, call="CreateJob")


def test_a_servicer_without_code_of_its_own_implements_nothing() -> None:
    assert not_implemented_calls([]) == set(RIGHTS)
