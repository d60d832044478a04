"""One look at the situation, and what follows from it for brokers and workers."""

import socket
from collections.abc import Sequence
from contextlib import closing

import structlog

from services.fleet.brokers import Brokers
from services.fleet.fleet_store import Situation, TenantRow, WorkerRow
from services.fleet.placement import Demand, Post, place
from services.fleet.workers import Workers
from tenants.run_directory import RunDirectory

log = structlog.get_logger()


class Fleet:
    """What the fleet remembers between two looks: who was given which device."""

    def __init__(
        self,
        *,
        run: RunDirectory,
        brokers: Brokers,
        workers: Workers,
        gpu_ids: Sequence[str],
        models: Sequence[str],
        cores: int,
        threads_per_worker: int | None,
    ) -> None:
        self._run = run
        self._brokers = brokers
        self._workers = workers
        self._gpu_ids = gpu_ids
        self._models = models
        self._cores = cores
        self._threads_per_worker = threads_per_worker
        self._posts: Sequence[Post] = ()
        self._waiting: tuple[str, ...] = ()

    def adopt(self) -> None:
        """Take over what an earlier fleet left running."""
        self._brokers.adopt()
        self._posts = self._workers.adopt()

    def look(self, situation: Situation) -> list[WorkerRow]:
        """Start, restart, move and end what the situation asks for; return the workers there are.

        A device changes hands over several looks: its worker drains first.
        """
        demands = _demands(situation, self._models)
        placement = place(gpu_ids=self._gpu_ids, demands=demands, current=self._posts)
        self._posts = placement.posts
        self._tell_waiting(placement.waiting_tenants)
        self._brokers.keep([tenant.tenant_id for tenant in situation.tenants])
        self._workers.keep(placement.posts, threads=self._threads())
        if _recorder_serves(self._run):
            self._workers.replace_silent(situation.sessions)
        return self._workers.rows(situation.sessions)

    def end_all(self) -> None:
        """End the workers, then the brokers they work from."""
        self._workers.end_all()
        self._brokers.end_all()

    def _threads(self) -> int:
        if self._threads_per_worker is not None:
            return self._threads_per_worker
        return max(1, self._cores // max(1, len(self._posts)))

    def _tell_waiting(self, waiting: tuple[str, ...]) -> None:
        for tenant_id in sorted(set(waiting) - set(self._waiting)):
            log.warning(
                "tenant_waits_for_device", tenant=tenant_id, device_count=len(self._gpu_ids)
            )
        self._waiting = waiting


def _demands(situation: Situation, models: Sequence[str]) -> list[Demand]:
    backlog: dict[str, dict[str, int]] = {}
    for row in situation.backlog:
        backlog.setdefault(row.tenant_id, {})[row.model] = row.image_count
    return [
        Demand(
            tenant_id=tenant.tenant_id,
            create_time=tenant.create_time,
            models=allowed,
            backlog=backlog.get(tenant.tenant_id, {}),
        )
        for tenant in situation.tenants
        if (allowed := _allowed_models(tenant, models))
    ]


def _allowed_models(tenant: TenantRow, models: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        model for model in models if tenant.allowed_models is None or model in tenant.allowed_models
    )


def _recorder_serves(run: RunDirectory) -> bool:
    """Without a recorder every worker looks silent, and none of them is to blame."""
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(0.2)
        return connection.connect_ex(str(run.recorder_gateway_socket)) == 0
