"""Keeps one broker running for each tenant."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from services.fleet.broker import start_broker, stop_broker
from services.fleet.errors import BrokerStartError
from services.fleet.notes import BrokerNote, NoteFolder
from tenants.launchers.child_process import ChildProcess, is_running
from tenants.launchers.restarts import Restarts
from tenants.run_directory import RunDirectory
from tenants.tenant_directories import TenantDirectories

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class _Broker:
    child: ChildProcess | None = None
    restarts: Restarts = field(default_factory=Restarts)


class Brokers:
    """The brokers of all tenants of one host."""

    def __init__(
        self,
        *,
        run: RunDirectory,
        directories: TenantDirectories,
        data_directory: Path,
        log_directory: Path,
    ) -> None:
        self._run = run
        self._directories = directories
        self._data_directory = data_directory
        self._log_directory = log_directory
        self._notes = NoteFolder(run.fleet_directory / "brokers", BrokerNote)
        self._brokers: dict[str, _Broker] = {}
        # Since the start of this process.
        self.death_count = 0

    def adopt(self) -> None:
        """Take over what an earlier fleet started and still runs."""
        for note in self._notes.read_all():
            if is_running(note.child):
                self._brokers[note.tenant_id] = _Broker(child=note.child)
                log.info("broker_adopted", tenant=note.tenant_id, pid=note.child.pid)

    def keep(self, tenant_ids: Collection[str]) -> None:
        """Start what is missing for these tenants, end what belongs to others."""
        for tenant_id in set(self._brokers) - set(tenant_ids):
            self._end(tenant_id)
        for tenant_id in tenant_ids:
            self._keep_one(tenant_id, self._brokers.setdefault(tenant_id, _Broker()))

    def end_all(self) -> None:
        for tenant_id in list(self._brokers):
            self._end(tenant_id)

    def _keep_one(self, tenant_id: str, broker: _Broker) -> None:
        now = time.monotonic()
        if broker.child is not None and not is_running(broker.child):
            broker.child = None
            self.death_count += 1
            wait_seconds = broker.restarts.died(now)
            log.warning("broker_died", tenant=tenant_id, restart_seconds=wait_seconds)
        if broker.child is None and broker.restarts.may_start(now):
            self._start(tenant_id, broker, now)

    def _start(self, tenant_id: str, broker: _Broker, now: float) -> None:
        self._directories.make(tenant_id)
        try:
            broker.child = start_broker(
                socket_path=self._run.broker_socket(tenant_id),
                data_directory=self._data_directory / tenant_id,
                log_path=self._log_directory / f"broker-{tenant_id}.log",
                environment=self._run.mark,
            )
        except BrokerStartError as error:
            wait_seconds = broker.restarts.died(now)
            log.error(  # noqa: TRY400 -- the words hold the broker's own log; no trace helps
                "broker_not_started",
                tenant=tenant_id,
                restart_seconds=wait_seconds,
                reason=str(error),
            )
            return
        broker.restarts.started(now)
        self._notes.write(tenant_id, BrokerNote(tenant_id=tenant_id, child=broker.child))
        log.info("broker_started", tenant=tenant_id, pid=broker.child.pid)

    def _end(self, tenant_id: str) -> None:
        broker = self._brokers.pop(tenant_id)
        if broker.child is not None:
            stop_broker(broker.child)
            log.info("broker_ended", tenant=tenant_id)
        self._notes.remove(tenant_id)
