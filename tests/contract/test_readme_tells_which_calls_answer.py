"""The README's table of calls is what the gateway does."""

from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from services.gateway.api_key_service import ApiKeyService
from services.gateway.billing_service import BillingService
from services.gateway.job_service import JobService
from services.gateway.model_service import ModelService
from services.gateway.services_table import SERVICES, not_implemented_calls
from services.gateway.tenant_service import TenantService
from services.gateway.usage_service import UsageService

README = Path(__file__).resolve().parents[2] / "README.md"
SERVICERS = (
    ApiKeyService,
    BillingService,
    JobService,
    ModelService,
    TenantService,
    UsageService,
)


def calls_in_readme(service: str) -> tuple[list[str], list[str]]:
    """The calls that work and those that do not, as the service's row of the table says."""
    (row,) = [line for line in README.read_text().splitlines() if line.startswith(f"| {service} |")]
    _, _, working, missing, _ = row.split("|")
    return working.replace("`", "").split(), missing.replace("`", "").split()


def name_of(service: ServiceDescriptor) -> str:
    return service.name


@pytest.mark.parametrize("service", SERVICES, ids=name_of)
def test_the_readme_tells_of_each_call_whether_it_answers(service: ServiceDescriptor) -> None:
    # The table asks only which methods the class has, so no servicer needs to be joined here.
    not_built = not_implemented_calls([object.__new__(servicer) for servicer in SERVICERS])
    names = [method.name for method in service.methods]
    missing = [name for name in names if f"/{service.full_name}/{name}" in not_built]

    working_told, missing_told = calls_in_readme(service.name)

    assert missing_told == missing
    assert working_told == [name for name in names if name not in missing]
