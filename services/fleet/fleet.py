"""One look at the situation, and what follows from it for brokers and workers."""

import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Final

import structlog

from services.fleet.allocation import Allocation
from services.fleet.backlog import BacklogEstimate
from services.fleet.brokers import Brokers
from services.fleet.departures import Departures
from services.fleet.fleet_store import Handover, Situation, TenantRow, WorkerRow
from services.fleet.inventory import Gpu, GpuKind
from services.fleet.posts import Demand, Placement
from services.fleet.workers import WorkerModel, Workers
from tenants.run_directory import RunDirectory

log = structlog.get_logger()

_WAITS: Final = "tenant_waits_for_device"


class Fleet:
    """Carries out on this host what `Allocation` decides."""

    def __init__(
        self,
        *,
        run: RunDirectory,
        brokers: Brokers,
        workers: Workers,
        departures: Departures,
        allocation: Allocation,
        backlog: BacklogEstimate,
        models: Mapping[str, WorkerModel],
        cores: int,
        threads_per_worker: int | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._brokers = brokers
        self._workers = workers
        self._departures = departures
        self._allocation = allocation
        self._backlog = backlog
        self._models = models
        self._cores = cores
        self._threads_per_worker = threads_per_worker
        self._now = now
        self._told: dict[str, tuple[str, ...]] = {}
        self._departed: list[str] = []

    @property
    def worker_deaths(self) -> Mapping[str, int]:
        """By device, since the start of this process."""
        return self._workers.deaths

    @property
    def broker_death_count(self) -> int:
        return self._brokers.death_count

    @property
    def waiting_tenants(self) -> tuple[str, ...]:
        """Who has work and no device for it, after the last look."""
        return self._told.get(_WAITS, ())

    @property
    def restrained_tenants(self) -> tuple[str, ...]:
        """Who burnt too much, after the last look."""
        return self._allocation.restrained_tenants

    def adopt(self) -> None:
        """Take over what an earlier fleet left running."""
        self._brokers.adopt()
        self._allocation.adopt(self._workers.adopt())

    def remember(self, cold_starts: Iterable[tuple[str, float]]) -> None:
        """Take over what cold starts took before, as (model, seconds)."""
        for model, seconds in cold_starts:
            self._allocation.cold_starts.note(model, seconds)

    def measure(self, speeds: Mapping[str, float]) -> None:
        """Take over how fast each model draws."""
        self._backlog.speeds = speeds

    def look(self, situation: Situation, *, gpus: Sequence[Gpu]) -> list[WorkerRow]:
        """Start, restart, move and end what the situation asks for; return the workers there are.

        A device changes hands over several looks: its worker drains first.
        """
        now = self._now()
        self._workers.note_ready(situation.sessions)
        self._note_ended(situation, now)
        placement = self._allocation.decide(
            gpu_ids=_gpus_in_service(gpus, situation),
            shared_gpu_ids=frozenset(_processor_ids(gpus)),
            demands=self._demands(situation),
            occupants=self._workers.occupants(),
            now=now,
        )
        self._tell(placement)
        self._brokers.keep([tenant.tenant_id for tenant in situation.tenants])
        for wish in situation.wishes:
            if wish.drain_wish_time is not None:
                self._workers.drain(wish.gpu_id)
        self._workers.keep(
            placement.posts,
            threads=self._threads(len(placement.posts)),
            device_uuids={gpu.gpu_id: gpu.device_uuid for gpu in gpus},
        )
        if _recorder_serves(self._run):
            self._workers.replace_silent(situation.sessions)
        self._remove(situation.leaving, gpu_ids=[gpu.gpu_id for gpu in gpus])
        return self._workers.rows(situation.sessions)

    def take_departed(self) -> list[str]:
        """Return the tenants of whom nothing is left here, since the last call."""
        departed, self._departed = self._departed, []
        return departed

    def take_handovers(self) -> list[Handover]:
        """Return the cold starts since the last call; the next decisions reckon with them."""
        handovers = self._workers.take_handovers()
        for handover in handovers:
            self._allocation.cold_starts.note(handover.model, handover.cold_start_seconds)
            log.info(
                "worker_ready",
                tenant=handover.tenant_id,
                gpu=handover.gpu_id,
                model=handover.model,
                from_tenant=handover.from_tenant_id,
                drain_seconds=handover.drain_seconds and round(handover.drain_seconds, 3),
                cold_start_seconds=round(handover.cold_start_seconds, 3),
            )
        return handovers

    def end_all(self) -> None:
        """End the workers, then the brokers they work from."""
        self._workers.end_all()
        self._brokers.end_all()

    def _note_ended(self, situation: Situation, now: float) -> None:
        burn_limit = self._allocation.burn_limit
        for ended in situation.ended:
            if ended.drawn:
                burn_limit.note_drawn(ended.tenant_id, ended.seconds, now=now)
            elif (model := self._models.get(ended.model)) is not None:
                # Images that are drawn together share the device.
                seconds = ended.seconds / model.batch_slots
                burn_limit.note_burnt(ended.tenant_id, seconds, now=now)

    def _demands(self, situation: Situation) -> list[Demand]:
        backlog = self._backlog.seconds_by_tenant(situation.backlog)
        return [
            Demand(
                tenant_id=tenant.tenant_id,
                create_time=tenant.create_time,
                models=allowed,
                backlog_seconds=backlog.get(tenant.tenant_id, {}),
                weight=tenant.gpu_weight,
            )
            for tenant in situation.tenants
            if (allowed := _allowed_models(tenant, tuple(self._models)))
        ]

    def _remove(self, leaving: Iterable[str], *, gpu_ids: Collection[str]) -> None:
        """Remove what leaving tenants have here; their brokers have ended, workers may drain."""
        working = {occupant.post.tenant_id for occupant in self._workers.occupants().values()}
        for tenant_id in leaving:
            if tenant_id not in working and self._departures.remove(tenant_id, gpu_ids=gpu_ids):
                self._departed.append(tenant_id)

    def _threads(self, worker_count: int) -> int:
        if self._threads_per_worker is not None:
            return self._threads_per_worker
        return max(1, self._cores // max(1, worker_count))

    def _tell(self, placement: Placement) -> None:
        for takeover in placement.takeovers:
            log.info(
                "device_changes_hands",
                gpu=takeover.gpu_id,
                from_tenant=takeover.from_tenant_id,
                to_tenant=takeover.to_tenant_id,
            )
        self._tell_new(_WAITS, placement.waiting_tenants)
        self._tell_new("tenant_burns_too_much", self._allocation.restrained_tenants)

    def _tell_new(self, event: str, tenant_ids: tuple[str, ...]) -> None:
        for tenant_id in sorted(set(tenant_ids) - set(self._told.get(event, ()))):
            log.warning(event, tenant=tenant_id)
        self._told[event] = tenant_ids


def _gpus_in_service(gpus: Sequence[Gpu], situation: Situation) -> list[str]:
    kept_empty = {wish.gpu_id for wish in situation.wishes if wish.keep_empty}
    return [gpu.gpu_id for gpu in gpus if gpu.can_draw and gpu.gpu_id not in kept_empty]


def _processor_ids(gpus: Sequence[Gpu]) -> list[str]:
    return [gpu.gpu_id for gpu in gpus if gpu.kind is GpuKind.PROCESSOR]


def _allowed_models(tenant: TenantRow, models: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        model for model in models if tenant.allowed_models is None or model in tenant.allowed_models
    )


def _recorder_serves(run: RunDirectory) -> bool:
    """Without a recorder every worker looks silent, and none of them is to blame."""
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(0.2)
        return connection.connect_ex(str(run.recorder_gateway_socket)) == 0
