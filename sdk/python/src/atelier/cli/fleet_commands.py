"""`atelier admin gpus|workers|power`: who draws where, how hot it is, and how busy it may be."""

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

import click

from atelier.cli.columns import TENANT_DETAILS
from atelier.cli.output import Column, enum_word, message_fields, moment_text
from atelier.cli.session import Session, in_session
from atelier.names import ALL, last_id, tenant_name
from atelier.v1.fleet_service_pb2 import Gpu, PowerPolicy, Worker, WorkerState
from atelier.v1.tenant_service_pb2 import Tenant, TenantQuotas

_GIB = 1024**3


@click.group()
def gpus() -> None:
    """See the GPUs."""


@gpus.command("list")
@in_session
def list_gpus(session: Session) -> None:
    """List every GPU with what its sensors said last."""
    with session.open_client() as client:
        session.output.show_many(list(client.list_gpus()), GPU_COLUMNS)


@gpus.command("watch")
@click.argument("gpu", default=ALL)
@click.option("--seconds", type=click.IntRange(1), help="End after this time.")
@in_session
def watch_gpus(session: Session, *, gpu: str, seconds: int | None) -> None:
    """Show how a GPU, or all of them, do, once a second, until Ctrl-C."""
    with session.open_client() as client, closing(client.watch_gpus(gpu)) as news:
        for count, answer in enumerate(news, start=1):
            if session.output.is_json:
                session.output.show_json_line(message_fields(answer))
            else:
                session.output.show_many(list(answer.gpus), GPU_COLUMNS)
            if count == seconds:
                return


@gpus.command("weigh")
@click.argument("tenant_id")
@click.argument("weight", type=click.FloatRange(0.01, 100))
@in_session
def weigh(session: Session, *, tenant_id: str, weight: float) -> None:
    """Give a tenant its part of the GPUs: twice the weight, twice the time while all have work."""
    wanted = Tenant(name=tenant_name(tenant_id), quotas=TenantQuotas(gpu_weight=weight))
    with session.open_client() as client:
        session.output.show_one(client.update_tenant(wanted, ["quotas.gpu_weight"]), TENANT_DETAILS)


@click.group()
def workers() -> None:
    """See and drain the workers."""


@workers.command("list")
@in_session
def list_workers(session: Session) -> None:
    """List the workers; says so when nothing keeps tenants apart."""
    with session.open_client() as client:
        answer = client.list_workers()
    session.output.show_many(list(answer.workers), WORKER_COLUMNS)
    if answer.warning:
        click.secho(answer.warning, fg="red", bold=True, err=True)


@workers.command("drain")
@click.argument("gpu")
@click.option(
    "--keep-empty-minutes",
    type=click.IntRange(0),
    default=0,
    help="Nobody gets the GPU for so long; 0 gives it out again.",
)
@in_session
def drain(session: Session, *, gpu: str, keep_empty_minutes: int) -> None:
    """Let a GPU's worker finish what it draws, then end."""
    with session.open_client() as client:
        answer = client.drain_worker(gpu, keep_empty=timedelta(minutes=keep_empty_minutes))
        session.output.show_one(answer, GPU_COLUMNS)


def _lies(worker: Worker) -> int:
    """Count what was refused; a token that finds nothing is everyday."""
    counts = worker.refusal_counts
    return sum(count for reason, count in counts.items() if reason != "EMPTY_CLAIM")


@click.group()
def power() -> None:
    """Say how hot and how busy GPUs may be."""


@power.command("set")
@click.option(
    "--gpu", default=ALL, help="Of this GPU; of all without one of their own unless given."
)
@click.option("--temperature-max", type=click.FloatRange(40, 95), required=True, help="In °C.")
@click.option(
    "--load-max",
    type=click.IntRange(10, 100),
    required=True,
    help="Per cent of the time that it may be busy for long.",
)
@in_session
def set_policy(session: Session, *, gpu: str, temperature_max: float, load_max: int) -> None:
    """Set a power policy. Workers slow down steadily to keep it; the card's settings stay."""
    with session.open_client() as client:
        policy = client.set_power_policy(
            gpu, temperature_celsius_max=temperature_max, duty_cycle_max=load_max / 100
        )
        session.output.show_one(policy, POLICY_COLUMNS)


def _celsius(gpu: Gpu) -> str:
    known = gpu.sample.HasField("temperature_celsius")
    return f"{gpu.sample.temperature_celsius:.0f} °C" if known else ""


def _watts(gpu: Gpu) -> str:
    return f"{gpu.sample.power_watts:.0f} W" if gpu.sample.HasField("power_watts") else ""


def _memory(gpu: Gpu) -> str:
    if not gpu.memory_bytes or not gpu.sample.HasField("memory_used_bytes"):
        return ""
    return f"{gpu.sample.memory_used_bytes / _GIB:.1f} / {gpu.memory_bytes / _GIB:.1f} GiB"


def _utilization(gpu: Gpu) -> str:
    return f"{gpu.sample.utilization:.0%}" if gpu.sample.HasField("utilization") else ""


def _clock(gpu: Gpu) -> str:
    sample = gpu.sample
    return f"{sample.clock_megahertz} MHz" if sample.HasField("clock_megahertz") else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds else ""


GPU_COLUMNS: Sequence[Column[Gpu]] = (
    Column("gpu", lambda gpu: last_id(gpu.name)),
    Column("device", lambda gpu: gpu.display_name),
    Column("tenant", lambda gpu: last_id(gpu.tenant)),
    Column("model", lambda gpu: last_id(gpu.model), is_detail=True),
    Column("images", lambda gpu: str(gpu.running_image_count or ""), is_number=True),
    Column("temperature", _celsius, is_number=True),
    Column("power", _watts, is_number=True),
    Column("memory", _memory, is_number=True),
    Column("utilization", _utilization, is_number=True),
    Column("clock", _clock, is_number=True, is_detail=True),
    Column("pace", lambda gpu: f"{gpu.duty_cycle:.0%}", is_number=True),
    Column("throttled by", lambda gpu: ", ".join(gpu.sample.throttle_reasons)),
    Column("kept empty until", lambda gpu: moment_text(gpu.keep_empty_until_time)),
    Column("there", lambda gpu: "" if gpu.in_inventory else "gone"),
    Column("uuid", lambda gpu: gpu.device_uuid, is_detail=True),
    Column("read", lambda gpu: moment_text(gpu.sample.sample_time), is_detail=True),
)

WORKER_COLUMNS: Sequence[Column[Worker]] = (
    Column("gpu", lambda worker: worker.name.split("/")[1]),
    Column("tenant", lambda worker: last_id(worker.tenant)),
    Column("model", lambda worker: last_id(worker.model)),
    Column("state", lambda worker: enum_word(WorkerState.Name(worker.state), "WORKER_STATE")),
    Column("images", lambda worker: str(worker.running_image_count or ""), is_number=True),
    Column("launcher", lambda worker: worker.launcher),
    Column("isolated", lambda worker: "yes" if worker.isolated else "NO"),
    Column("restarts", lambda worker: str(worker.restart_count), is_number=True),
    Column("cold start", lambda worker: _seconds(worker.cold_start_seconds), is_number=True),
    Column("drain before", lambda worker: _seconds(worker.drain_seconds), is_number=True),
    Column("refused", lambda worker: str(_lies(worker) or ""), is_number=True),
    Column("started", lambda worker: moment_text(worker.start_time), is_detail=True),
)

POLICY_COLUMNS: Sequence[Column[PowerPolicy]] = (
    Column("gpu", lambda policy: policy.name.split("/")[1]),
    Column("temperature max", lambda policy: f"{policy.temperature_celsius_max:.0f} °C"),
    Column("load max", lambda policy: f"{policy.duty_cycle_max:.0%}"),
    Column("set", lambda policy: moment_text(policy.update_time)),
)
