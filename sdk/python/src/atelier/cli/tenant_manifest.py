"""`atelier admin tenants manifest`: a tenant's namespace on Kubernetes, and what fences it in."""

from importlib.resources import files
from string import Template
from typing import Any, Final

import click

from atelier.cli.session import Session, in_session

_NAMESPACE_PREFIX: Final = "atelier-tenant-"
# A worker for each GPU and the one that replaces it, and the broker likewise.
_PODS_PER_GPU: Final = 2
_PODS_OF_BROKER: Final = 2
_BROKER_CPUS: Final = 1
_BROKER_MEMORY_GB: Final = 1
# As the fleet takes them from a broker of its own.
_TAKEN_AWAY: Final = (
    "-config -module -debug -replicaof -slaveof -shutdown -acl -save -bgsave -bgrewriteaof"
    " -failover -cluster -migrate -monitor"
)
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
@click.option("--model", required=True, help="Of the catalogue; what its workers draw with.")
@click.option(
    "--target-seconds",
    type=_AT_LEAST_ONE,
    default=120,
    show_default=True,
    help="Of GPU time that may wait for each worker before there is another.",
)
@click.option("--worker-image", default="atelier/worker", show_default=True, help="By digest.")
@click.option("--broker-image", default="valkey/valkey:9.1", show_default=True, help="By digest.")
@click.option(
    "--system-namespace", default="atelier-system", show_default=True, help="Of the gateway."
)
@in_session
def manifest(
    session: Session,
    *,
    tenant_id: str,
    **wishes: Any,  # noqa: ANN401 - what the options above say, under the names of write_manifest
) -> None:
    """Print what a tenant needs on Kubernetes: its fences, its broker, its workers."""
    with session.open_client() as client:
        known = client.get_tenant(tenant_id)
    click.echo(write_manifest(known.name.removeprefix("tenants/"), **wishes), nl=False)


def write_manifest(
    tenant: str,
    *,
    model: str,
    gpus: int,
    cpus_per_gpu: int,
    memory_gb_per_gpu: int,
    target_seconds: int,
    worker_image: str,
    broker_image: str,
    system_namespace: str,
) -> str:
    """Fill in the tenant's numbers; every place of the templates has one."""
    return _template().substitute(
        tenant=tenant,
        namespace=f"{_NAMESPACE_PREFIX}{tenant}",
        model=model,
        gpus=gpus,
        # The workers, the one that is being replaced, and the broker.
        cpus=(gpus + 1) * cpus_per_gpu + _BROKER_CPUS,
        memory_gb=(gpus + 1) * memory_gb_per_gpu + _BROKER_MEMORY_GB,
        cpus_per_gpu=cpus_per_gpu,
        memory_gb_per_gpu=memory_gb_per_gpu,
        pods=gpus * _PODS_PER_GPU + _PODS_OF_BROKER,
        target_seconds=target_seconds,
        worker_image=worker_image,
        broker_image=broker_image,
        taken_away=_TAKEN_AWAY,
        system_namespace=system_namespace,
    )


def _template() -> Template:
    folder = files("atelier.cli")
    parts = ("tenant_manifest.yaml", "tenant_workload.yaml")
    return Template("".join((folder / part).read_text() for part in parts))
