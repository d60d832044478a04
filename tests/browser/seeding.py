"""A studio and an operator as they are after a busy morning: what the browser tests look at."""

from dataclasses import dataclass
from typing import Final

import atelier
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.billing_service_pb2 import Budget, BudgetEnforcement, BudgetPeriod
from atelier.v1.cost_pb2 import CostVersion
from atelier.v1.image_pb2 import ImageSpec
from atelier.v1.job_service_pb2 import JobSpec
from atelier.v1.money_pb2 import Money
from atelier.v1.price_pb2 import (
    PriceComponent,
    PriceComponentKind,
    PriceTier,
    PriceVersion,
    TaxRate,
)
from atelier.v1.tenant_service_pb2 import Tenant

HOSTILE: Final = '<script>document.title="owned"</script><img src=x onerror="document.title=1">'
# Prompts in the words that the checkpoint that ships was trained on: pages are shown to people.
CAMPAIGNS: Final = (
    (
        "Spring catalogue, mugs",
        "spring",
        "a photo of a {} mug on a white background",
        ("red", "blue", "green", "yellow"),
    ),
    (
        "Lamps for the home page",
        "home",
        "a photo of a {} lamp on a gray background",
        ("yellow", "black"),
    ),
    (
        "Vases, first look",
        "spring",
        "a photo of a {} vase on a yellow background",
        ("blue", "orange", "purple"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """Keys to log in with, and a job that has ended."""

    operator_key: str
    admin_key: str
    member_key: str
    other_key: str
    job_id: str
    other_job_id: str


def seed(address: str, operator_key: str, *, size: int = 256, steps: int = 12) -> Seeded:
    """Make two studios, let them draw, and wait until it is drawn."""
    with atelier.Client(address, api_key=operator_key) as operator:
        operator.create_price_version(_price())
        operator.create_cost_version(
            CostVersion(
                currency_code="EUR",
                gpu_second_nanos=400_000,
                kwh_nanos=310_000_000,
                idle_share_millionths=150_000,
                display_name="Rack 1, 2026",
            )
        )
    admin_key, member_key = _studio(address, operator_key, "acme", "Acme Studio")
    other_key, _ = _studio(address, operator_key, "zeta", "Zeta Pictures")
    with atelier.Client(address, api_key=admin_key) as acme:
        jobs = [_order(acme, *campaign, size=size, steps=steps) for campaign in CAMPAIGNS]
        acme.set_budget(_budget("monthly", 50, BudgetEnforcement.BUDGET_ENFORCEMENT_HARD))
        acme.set_budget(_budget("spring", 1, BudgetEnforcement.BUDGET_ENFORCEMENT_SOFT, "spring"))
        for job in jobs:
            job.wait()
    with atelier.Client(address, api_key=other_key) as zeta:
        spec = ImageSpec(prompt="a teapot", width=64, height=64, num_inference_steps=2)
        other = zeta.create_job([spec], display_name=HOSTILE, labels={"title": HOSTILE[:200]})
        hostile = zeta.create_job(
            [
                ImageSpec(
                    prompt=HOSTILE, client_ref=HOSTILE, width=64, height=64, num_inference_steps=2
                )
            ],
            display_name=HOSTILE,
        )
        for job in (other, hostile):
            job.wait()
    return Seeded(
        operator_key=operator_key,
        admin_key=admin_key,
        member_key=member_key,
        other_key=other_key,
        job_id=jobs[0].name.rpartition("/")[2],
        other_job_id=hostile.name.rpartition("/")[2],
    )


def _studio(address: str, operator_key: str, tenant: str, title: str) -> tuple[str, str]:
    with atelier.Client(address, api_key=operator_key, tenant=tenant) as operator:
        operator.create_tenant(
            tenant,
            Tenant(
                display_name=title,
                currency_code="EUR",
                legal_name=f"{title} GmbH",
                postal_address="Hafenstraße 12\n20457 Hamburg",
                time_zone="Europe/Berlin",
            ),
        )
        operator.grant_credit(Money(currency_code="EUR", nanos=120 * 10**9), description="Welcome")
        roles = (KeyRole.KEY_ROLE_ADMIN, KeyRole.KEY_ROLE_MEMBER)
        names = ("Studio owner", "Night batch")
        admin, member = (
            operator.create_api_key(ApiKey(role=role, display_name=name)).secret
            for role, name in zip(roles, names, strict=True)
        )
    return admin, member


def _order(
    client: atelier.Client,
    title: str,
    project: str,
    prompt: str,
    colours: tuple[str, ...],
    *,
    size: int,
    steps: int,
) -> atelier.JobHandle:
    specs = [
        JobSpec(
            image=ImageSpec(
                prompt=prompt.format(colour),
                width=size,
                height=size,
                num_inference_steps=steps,
                client_ref=f"SKU-{number:03}-{colour}",
            ),
            count=1,
        )
        for number, colour in enumerate(colours, start=1)
    ]
    labels = {"season": project, "team": "catalogue"}
    return client.create_job(specs, display_name=title, project=project, labels=labels)


def _price() -> PriceVersion:
    def flat(kind: "PriceComponentKind.ValueType", nanos: int) -> PriceComponent:
        return PriceComponent(kind=kind, tiers=[PriceTier(unit_price_nanos=nanos)])

    return PriceVersion(
        currency_code="EUR",
        display_name="List price 2026",
        components=[
            flat(PriceComponentKind.PRICE_COMPONENT_KIND_PER_IMAGE, 30_000_000),
            flat(PriceComponentKind.PRICE_COMPONENT_KIND_PER_MEGAPIXEL_STEP, 2_000_000),
        ],
        tax_rates=[TaxRate(display_name="VAT 19 %", rate_millionths=190_000)],
    )


def _budget(
    name: str, euros: int, enforcement: "BudgetEnforcement.ValueType", project: str = ""
) -> Budget:
    return Budget(
        name=f"tenants/-/budgets/{name}",
        project=project,
        period=BudgetPeriod.BUDGET_PERIOD_MONTH,
        limit=Money(currency_code="EUR", nanos=euros * 10**9),
        enforcement=enforcement,
    )
