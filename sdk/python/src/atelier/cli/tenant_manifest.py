"""`atelier admin tenants manifest`: a tenant's namespace on Kubernetes, and what fences it in."""

from importlib.resources import files
from string import Template
from typing import Final

import click

from atelier.cli.session import Session, in_session

_NAMESPACE_PREFIX: Final = "atelier-tenant-"
# A worker for each GPU and the one that replaces it, and the broker likewise.
_PODS_PER_GPU: Final = 2
_PODS_OF_BROKER: Final = 2
_AT_LEAST_ONE = click.IntRange(min=1)


@click.command("manifest")
@click.argument("tenant_id")
@click.option(
    "--gpus", type=_AT_LEAST_ONE, default=1, show_default=True, help="It may hold at most."
)
@click.option(
    "--cpus-per-gpu", type=_AT_LEAST_ONE, default=4, show_default=True, help="Cores of a worker."
)
@click.option(
    "--memory-gb-per-gpu",
    type=_AT_LEAST_ONE,
    default=24,
    show_default=True,
    help="Of a worker, in GiB.",
)
@click.option("--system-namespace", default="atelier", show_default=True, help="Of the gateway.")
@in_session
def manifest(
    session: Session,
    *,
    tenant_id: str,
    gpus: int,
    cpus_per_gpu: int,
    memory_gb_per_gpu: int,
    system_namespace: str,
) -> None:
    """Print a tenant's namespace for Kubernetes, with its quota and its network policies."""
    with session.open_client() as client:
        known = client.get_tenant(tenant_id)
    click.echo(
        write_manifest(
            known.name.removeprefix("tenants/"),
            gpus=gpus,
            # The workers, the one that is being replaced, and the broker.
            cpus=(gpus + 1) * cpus_per_gpu + 1,
            memory_gb=(gpus + 1) * memory_gb_per_gpu + 1,
            system_namespace=system_namespace,
        ),
        nl=False,
    )


def write_manifest(
    tenant: str, *, gpus: int, cpus: int, memory_gb: int, system_namespace: str
) -> str:
    """Fill in the tenant's numbers; every place of the template has one."""
    template = Template((files("atelier.cli") / "tenant_manifest.yaml").read_text())
    return template.substitute(
        tenant=tenant,
        namespace=f"{_NAMESPACE_PREFIX}{tenant}",
        gpus=gpus,
        cpus=cpus,
        memory_gb=memory_gb,
        pods=gpus * _PODS_PER_GPU + _PODS_OF_BROKER,
        system_namespace=system_namespace,
    )
