"""Which role may make which call: one table for the whole contract.

A call that is not in the table is refused, and a test fails when a call of the contract is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.gateway.callers import Caller
from services.gateway.errors import role_required, tenant_suspended
from tenants.api_keys import Role

PACKAGE: Final = "atelier.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Who may make a call; ``orders`` is what a suspended tenant may not do."""

    roles: frozenset[Role]
    orders: bool = False

    def check(self, caller: Caller, *, call: str) -> None:
        """Let the caller pass, or say what is missing.

        Raises:
            CallRefusedError: ROLE_REQUIRED or TENANT_SUSPENDED.
        """
        if caller.role not in self.roles:
            raise role_required(call, _least_role(self.roles))
        if self.orders and caller.suspended:
            raise tenant_suspended()


def _least_role(roles: frozenset[Role]) -> str:
    return next(role for role in (Role.MEMBER, Role.ADMIN, Role.OPERATOR) if role in roles)


_EVERYBODY: Final = Right(roles=frozenset({Role.MEMBER, Role.ADMIN, Role.OPERATOR}))
# Spending a tenant's money is for its own keys: an operator who could would also answer for it.
_TENANT: Final = Right(roles=frozenset({Role.MEMBER, Role.ADMIN}))
_TENANT_ORDERS: Final = Right(roles=frozenset({Role.MEMBER, Role.ADMIN}), orders=True)
_TENANT_ADMIN: Final = Right(roles=frozenset({Role.ADMIN}))
_ADMINS: Final = Right(roles=frozenset({Role.ADMIN, Role.OPERATOR}))
_OPERATOR: Final = Right(roles=frozenset({Role.OPERATOR}))

_RIGHTS_BY_SERVICE: Final[Mapping[str, Mapping[str, Right]]] = {
    "JobService": {
        "CreateJob": _TENANT_ORDERS,
        "GetJob": _EVERYBODY,
        "ListJobs": _EVERYBODY,
        "CancelJob": _TENANT,
        "WatchJob": _EVERYBODY,
        "ListImages": _EVERYBODY,
        "GetImage": _EVERYBODY,
        "DownloadImage": _EVERYBODY,
        "RetryFailedImages": _TENANT_ORDERS,
    },
    "ImageService": {"GenerateImage": _TENANT_ORDERS},
    "ModelService": {"ListModels": _EVERYBODY, "GetModel": _EVERYBODY},
    "UsageService": {
        "ListUsageRecords": _EVERYBODY,
        "QueryUsage": _EVERYBODY,
        "ExportUsage": _EVERYBODY,
    },
    "BillingService": {
        "GetBalance": _EVERYBODY,
        "ListTransfers": _ADMINS,
        "GrantCredit": _OPERATOR,
        "RefundCredit": _OPERATOR,
        "ListPrices": _EVERYBODY,
        "CreatePriceVersion": _OPERATOR,
        "SimulatePrice": _OPERATOR,
        "CreateCostVersion": _OPERATOR,
        "ListCosts": _OPERATOR,
        "QueryMargin": _OPERATOR,
        "ListInvoices": _ADMINS,
        "GetInvoice": _ADMINS,
        "DownloadInvoice": _ADMINS,
        "FinalizeInvoice": _OPERATOR,
        "RecordPayment": _OPERATOR,
        "VoidInvoice": _OPERATOR,
        "CreateCreditNote": _OPERATOR,
        "SetBudget": _ADMINS,
        "ListBudgets": _ADMINS,
        "VerifyLedger": _ADMINS,
    },
    "TenantService": {
        "CreateTenant": _OPERATOR,
        "GetTenant": _EVERYBODY,
        "ListTenants": _OPERATOR,
        "UpdateTenant": _OPERATOR,
        "SuspendTenant": _OPERATOR,
        "ResumeTenant": _OPERATOR,
        "DeleteTenant": _OPERATOR,
        "UpdateTenantSettings": _TENANT_ADMIN,
    },
    "ApiKeyService": {
        "CreateApiKey": _ADMINS,
        "ListApiKeys": _ADMINS,
        "RotateApiKey": _ADMINS,
        "RevokeApiKey": _ADMINS,
    },
    "IdentityService": {
        "CreateIdentityBinding": _OPERATOR,
        "ListIdentityBindings": _ADMINS,
        "DeleteIdentityBinding": _ADMINS,
    },
    "FleetService": {
        "GetEnergyReconciliation": _OPERATOR,
        "ListGpus": _OPERATOR,
        "WatchGpus": _OPERATOR,
        "ListWorkers": _OPERATOR,
        "DrainWorker": _OPERATOR,
        "SetPowerPolicy": _OPERATOR,
    },
    "AuditService": {"ListAuditEvents": _ADMINS},
    "InstallationService": {
        "GetInstallation": _EVERYBODY,
        "VerifyInstallation": _OPERATOR,
    },
}

# Full method names as gRPC has them: /atelier.v1.JobService/CreateJob.
RIGHTS: Final[Mapping[str, Right]] = {
    f"/{PACKAGE}.{service}/{call}": right
    for service, rights in _RIGHTS_BY_SERVICE.items()
    for call, right in rights.items()
}
