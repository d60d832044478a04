"""What each side of the matrix owns: two tenants with things of every kind, and nobody's ids."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any, Final
from uuid import uuid4

from atelier.v1 import (
    api_key_service_pb2,
    billing_service_pb2,
    identity_service_pb2,
    job_service_pb2,
    money_pb2,
)
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    spec,
)
from tests.isolation_matrix.templates import fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Ids that a request can name."""

    tenant: str
    job: str
    image: str
    key: str
    spare_key: str
    budget: str
    binding: str
    # Whose tokens the gateway takes; the same for everybody.
    issuer: str

    @property
    def ids(self) -> tuple[str, ...]:
        return (
            self.tenant,
            self.job,
            self.image,
            self.key,
            self.spare_key,
            self.budget,
            self.binding,
        )

    def of(self, tenant: str) -> "Names":
        """The same ids under another tenant."""
        return replace(self, tenant=tenant)

    def fill(self, template: Mapping[str, Any]) -> dict[str, Any]:
        """Write these ids into a request's template."""
        filled: dict[str, Any] = fill(
            template,
            {
                "tenant": self.tenant,
                "job": self.job,
                "image": self.image,
                "key": self.key,
                "spare_key": self.spare_key,
                "budget": self.budget,
                "binding": self.binding,
                "issuer": self.issuer,
                "uuid": str(uuid4()),
                "fresh": f"t{token_hex(6)}",
            },
        )
        return filled


# Well-formed, and nobody has them.
NOBODY: Final = Names(
    tenant="nobody",
    job="0" * 20,
    image="1" * 20,
    key="2" * 12,
    spare_key="3" * 12,
    budget="none",
    binding="4" * 20,
    issuer="https://nobody.example",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A tenant of the matrix; its ``marks`` must never come to another's eyes."""

    studio: Studio
    names: Names
    marks: tuple[str, ...]


async def make_side(gateway: ServedGateway, *, issuer: str) -> Side:
    """Make a tenant that has something of everything, every free text of it a mark."""
    mark = f"secret{token_hex(6)}"
    studio = await gateway.new_tenant(legal_name=f"{mark} Ltd", postal_address=mark, vat_id=mark)
    tenant = studio.tenant_id
    job = await studio.admin.jobs.CreateJob(
        create_job(
            spec(2, prompt=mark, negative_prompt=mark),
            display_name=mark,
            project=mark,
            labels={"campaign": mark},
        )
    )
    images = await studio.admin.jobs.ListImages(job_service_pb2.ListImagesRequest(parent=job.name))
    spare = await studio.admin.api_keys.CreateApiKey(
        api_key_service_pb2.CreateApiKeyRequest(
            parent="tenants/-",
            api_key=api_key_service_pb2.ApiKey(display_name=mark, project=mark),
            request_id=str(uuid4()),
        )
    )
    budget = f"b{token_hex(6)}"
    await studio.admin.billing.SetBudget(
        billing_service_pb2.SetBudgetRequest(
            budget=billing_service_pb2.Budget(
                name=f"tenants/{tenant}/budgets/{budget}",
                project=mark,
                period=billing_service_pb2.BUDGET_PERIOD_MONTH,
                limit=money_pb2.Money(currency_code="USD", nanos=10**12),
            )
        )
    )
    binding = await gateway.operator.identities.CreateIdentityBinding(
        identity_service_pb2.CreateIdentityBindingRequest(
            parent=f"tenants/{tenant}",
            identity_binding=identity_service_pb2.IdentityBinding(
                issuer=issuer, claim_value=mark, display_name=mark, project=mark
            ),
            request_id=str(uuid4()),
        )
    )
    names = Names(
        tenant=tenant,
        job=_last(job.name),
        image=_last(images.images[0].name),
        key=(studio.member.key or "").split("_")[2],
        spare_key=_last(spare.api_key.name),
        budget=budget,
        binding=_last(binding.name),
        issuer=issuer,
    )
    marks = (mark, names.tenant, names.job, names.image, names.key, names.spare_key)
    return Side(studio=studio, names=names, marks=marks)


def _last(name: str) -> str:
    return name.rpartition("/")[2]
