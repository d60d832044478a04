"""GPUs, workers and policies as the contract has them."""

from collections.abc import Iterable
from typing import Final

from atelier.v1 import fleet_service_pb2 as wire
from services.gateway import resource_names
from services.gateway.conversions import enum_number, to_timestamp
from services.gateway.gpus import GpuRow, PolicyRow, WorkerRow

# The launcher that keeps nothing apart.
_UNISOLATED_LAUNCHER: Final = "process"


def gpu_message(row: GpuRow) -> wire.Gpu:
    """Write a GPU; what nobody measured stays unset."""
    return wire.Gpu(
        name=resource_names.GPU.write(row.gpu_id),
        display_name=row.display_name,
        kind=enum_number(wire.GpuKind, row.kind),
        device_uuid=row.device_uuid,
        memory_bytes=row.memory_bytes,
        in_inventory=row.in_inventory,
        sample=_sample_message(row),
        duty_cycle=row.duty_cycle,
        power_policy=_policy_of(row),
        tenant=resource_names.TENANT.write(row.tenant_id) if row.tenant_id else "",
        model=resource_names.MODEL.write(row.model) if row.model else "",
        running_image_count=row.running_image_count,
        keep_empty_until_time=to_timestamp(row.keep_empty_until),
    )


def worker_message(row: WorkerRow) -> wire.Worker:
    """Write a worker."""
    return wire.Worker(
        name=resource_names.WORKER.write(row.gpu_id),
        tenant=resource_names.TENANT.write(row.tenant_id),
        model=resource_names.MODEL.write(row.model),
        state=enum_number(wire.WorkerState, row.state),
        launcher=row.launcher,
        isolation=row.isolation,
        isolated=row.launcher != _UNISOLATED_LAUNCHER,
        process_id=row.process_id or 0,
        restart_count=row.restart_count,
        start_time=to_timestamp(row.start_time),
        running_image_count=row.running_image_count,
        cold_start_seconds=row.cold_start_seconds or 0.0,
        drain_seconds=row.drain_seconds or 0.0,
        refusal_counts=row.refusal_counts,
    )


def warning_about(workers: Iterable[WorkerRow]) -> str:
    """Say loudly when nothing keeps tenants apart; empty when something does."""
    tenants = sorted(
        {worker.tenant_id for worker in workers if worker.launcher == _UNISOLATED_LAUNCHER}
    )
    if not tenants:
        return ""
    return (
        f"NO ISOLATION: the workers of {', '.join(tenants)} are plain processes of one user and "
        "can read each other's memory and files. Use this launcher for a first contact only."
    )


def policy_message(row: PolicyRow) -> wire.PowerPolicy:
    """Write a power policy."""
    return wire.PowerPolicy(
        name=resource_names.POWER_POLICY.write(row.gpu_id),
        temperature_celsius_max=row.temperature_celsius_max,
        duty_cycle_max=row.duty_cycle_max,
        update_time=to_timestamp(row.update_time),
    )


def _sample_message(row: GpuRow) -> wire.GpuSample | None:
    if row.sample_time is None:
        return None
    return wire.GpuSample(
        temperature_celsius=row.temperature_celsius,
        power_watts=row.power_watts,
        memory_used_bytes=row.memory_used_bytes,
        utilization=row.utilization,
        clock_megahertz=row.clock_megahertz,
        throttle_reasons=row.throttle_reasons,
        sample_time=to_timestamp(row.sample_time),
    )


def _policy_of(row: GpuRow) -> wire.PowerPolicy | None:
    if (
        row.policy_gpu_id is None
        or row.temperature_celsius_max is None
        or row.duty_cycle_max is None
    ):
        return None
    return wire.PowerPolicy(
        name=resource_names.POWER_POLICY.write(row.policy_gpu_id),
        temperature_celsius_max=row.temperature_celsius_max,
        duty_cycle_max=row.duty_cycle_max,
        update_time=to_timestamp(row.policy_update_time),
    )
