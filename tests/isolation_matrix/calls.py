"""One entry for each call of the contract: a request that its rightful caller would send.

`{tenant}`, `{job}` and the like become the ids of whoever's things are named; the matrix sends each
request with one's own, another tenant's and missing ones. A new call needs a line here, with every
field that can name something of a tenant; a test fails until it has one.
"""

from collections.abc import Mapping
from typing import Any, Final

_TENANT: Final = "tenants/{tenant}"
_JOB: Final = "tenants/{tenant}/jobs/{job}"
_IMAGE: Final = "tenants/{tenant}/jobs/{job}/images/{image}"
_KEY: Final = "tenants/{tenant}/apiKeys/{key}"
_SPARE_KEY: Final = "tenants/{tenant}/apiKeys/{spare_key}"
_BINDING: Final = "tenants/{tenant}/identityBindings/{binding}"
_INVOICE: Final = "tenants/{tenant}/invoices/current"
# An invoice that is not there yet: the calls are the operator's alone.
_ENDED_INVOICE: Final = "tenants/{tenant}/invoices/2024-01"
_MONEY: Final = {"currency_code": "USD", "nanos": "1000000000"}
_PRICE: Final = {
    "currency_code": "USD",
    "price_book": "matrix",
    "components": [
        {"kind": "PRICE_COMPONENT_KIND_PER_IMAGE", "tiers": [{"unit_price_nanos": "1000000"}]}
    ],
}
_FILTER: Final = {"api_key": _KEY, "job": _JOB}

CALLS: Final[Mapping[str, Mapping[str, Any]]] = {
    "JobService/CreateJob": {
        "parent": _TENANT,
        "job": {"specs": [{"image": {"prompt": "a mug"}}]},
        "request_id": "{uuid}",
    },
    "JobService/GetJob": {"name": _JOB},
    "JobService/ListJobs": {"parent": _TENANT},
    "JobService/CancelJob": {"name": _JOB},
    "JobService/WatchJob": {"name": _JOB},
    "JobService/ListImages": {"parent": _JOB},
    "JobService/GetImage": {"name": _IMAGE},
    "JobService/DownloadImage": {"name": _IMAGE},
    "JobService/RetryFailedImages": {"name": _JOB, "request_id": "{uuid}"},
    "ImageService/GenerateImage": {
        "parent": _TENANT,
        "spec": {"prompt": "a mug"},
        "request_id": "{uuid}",
    },
    "ModelService/ListModels": {},
    "ModelService/GetModel": {"name": "models/test-model"},
    "UsageService/ListUsageRecords": {"parent": _TENANT, "filter": _FILTER},
    "UsageService/QueryUsage": {"parent": _TENANT, "filter": _FILTER},
    "UsageService/ExportUsage": {
        "parent": _TENANT,
        "filter": _FILTER,
        "kind": "USAGE_EXPORT_KIND_CSV",
    },
    "BillingService/GetBalance": {"name": "tenants/{tenant}/balance"},
    "BillingService/ListTransfers": {"parent": _TENANT},
    "BillingService/GrantCredit": {"parent": _TENANT, "amount": _MONEY, "request_id": "{uuid}"},
    "BillingService/RefundCredit": {
        "parent": _TENANT,
        "amount": _MONEY,
        "reference": "wire-1",
        "request_id": "{uuid}",
    },
    "BillingService/ListPrices": {"parent": _TENANT},
    "BillingService/CreatePriceVersion": {"price_version": _PRICE, "request_id": "{uuid}"},
    "BillingService/SimulatePrice": {
        "parent": _TENANT,
        "billing_period": "2024-01",
        "draft": _PRICE,
    },
    "BillingService/CreateCostVersion": {
        "cost_version": {"currency_code": "XTS", "gpu_second_nanos": "1"},
        "request_id": "{uuid}",
    },
    "BillingService/ListCosts": {},
    "BillingService/QueryMargin": {
        "tenant": _TENANT,
        "start_time": "2024-01-01T00:00:00Z",
        "end_time": "2024-01-02T00:00:00Z",
    },
    "BillingService/ListInvoices": {"parent": _TENANT},
    "BillingService/GetInvoice": {"name": _INVOICE},
    "BillingService/DownloadInvoice": {"name": _INVOICE, "file_kind": "INVOICE_FILE_KIND_CSV"},
    "BillingService/FinalizeInvoice": {"name": _ENDED_INVOICE, "request_id": "{uuid}"},
    "BillingService/RecordPayment": {
        "name": _ENDED_INVOICE,
        "amount": _MONEY,
        "payment_time": "2024-02-01T00:00:00Z",
        "request_id": "{uuid}",
    },
    "BillingService/VoidInvoice": {
        "name": _ENDED_INVOICE,
        "reason": "wrong",
        "request_id": "{uuid}",
    },
    "BillingService/CreateCreditNote": {
        "parent": _ENDED_INVOICE,
        "amount": _MONEY,
        "reason": "wrong",
        "request_id": "{uuid}",
    },
    "BillingService/SetBudget": {
        "budget": {
            "name": "tenants/{tenant}/budgets/{budget}",
            "api_key": _KEY,
            "period": "BUDGET_PERIOD_MONTH",
            "limit": _MONEY,
        }
    },
    "BillingService/ListBudgets": {"parent": _TENANT},
    "BillingService/VerifyLedger": {"parent": _TENANT},
    "TenantService/CreateTenant": {
        "tenant_id": "{fresh}",
        "tenant": {"display_name": "Fresh"},
        "request_id": "{uuid}",
    },
    "TenantService/GetTenant": {"name": _TENANT},
    "TenantService/ListTenants": {},
    "TenantService/UpdateTenant": {
        "tenant": {"name": _TENANT, "legal_name": "Another"},
        "update_mask": "legalName",
    },
    "TenantService/SuspendTenant": {"name": _TENANT},
    "TenantService/ResumeTenant": {"name": _TENANT},
    "TenantService/DeleteTenant": {"name": _TENANT},
    "TenantService/UpdateTenantSettings": {
        "name": _TENANT,
        "settings": {"default_output_format": "OUTPUT_FORMAT_WEBP"},
        "update_mask": "defaultOutputFormat",
    },
    "ApiKeyService/CreateApiKey": {"parent": _TENANT, "api_key": {}, "request_id": "{uuid}"},
    "ApiKeyService/ListApiKeys": {"parent": _TENANT},
    "ApiKeyService/RotateApiKey": {"name": _SPARE_KEY, "request_id": "{uuid}"},
    "ApiKeyService/RevokeApiKey": {"name": _SPARE_KEY},
    "IdentityService/CreateIdentityBinding": {
        "parent": _TENANT,
        "identity_binding": {"issuer": "{issuer}", "claim_value": "{fresh}"},
        "request_id": "{uuid}",
    },
    "IdentityService/ListIdentityBindings": {"parent": _TENANT},
    "IdentityService/DeleteIdentityBinding": {"name": _BINDING},
    "FleetService/GetEnergyReconciliation": {"parent": "gpus/-"},
    "FleetService/ListGpus": {},
    "FleetService/WatchGpus": {"parent": "gpus/-"},
    "FleetService/ListWorkers": {},
    "FleetService/DrainWorker": {"name": "gpus/no-such-gpu/worker"},
    "FleetService/SetPowerPolicy": {
        "power_policy": {
            "name": "gpus/no-such-gpu/powerPolicy",
            "temperature_celsius_max": 80,
            "duty_cycle_max": 0.9,
        }
    },
    "AuditService/ListAuditEvents": {"parent": _TENANT, "api_key": _KEY, "resource_name": _JOB},
    "InstallationService/GetInstallation": {},
    "InstallationService/VerifyInstallation": {},
}
