"""Keeps one worker running on each post, and ends those whose post is given to another."""

import shutil
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from services.fleet.allocation import Occupant
from services.fleet.fleet_store import Handover, SessionRow, WorkerRow, WorkerState
from services.fleet.notes import NoteFolder, WorkerNote
from services.fleet.posts import Post
from tenants.launchers.child_process import (
    ChildProcess,
    is_running,
    kill_group,
    send,
    wait_for_end,
)
from tenants.launchers.restarts import Restarts
from tenants.launchers.worker_launcher import WorkerLauncher, WorkerOrder
from tenants.run_directory import RunDirectory

log = structlog.get_logger()

_KILL_SECONDS = 5.0
# A worker stops drawing this early, so that it still hands back what it could not finish.
_OWN_SHARE_OF_DRAIN = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerModel:
    """What a worker is told about the model it draws with."""

    # A folder, or a hub's name.
    path: str
    batch_slots: int
    interactive_slots: int


@dataclass(slots=True, kw_only=True)
class _Worker:
    post: Post
    child: ChildProcess | None = None
    restarts: Restarts = field(default_factory=Restarts)
    start_time: float = 0.0
    ready_time: float | None = None
    # Monotonic seconds; set once the worker has been asked to end.
    kill_time: float | None = None
    # Whose worker left for this one, and how long that took.
    before: "_Left | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    tenant_id: str
    drain_seconds: float


class Workers:
    """The workers of one host by device."""

    def __init__(
        self,
        *,
        run: RunDirectory,
        launcher: WorkerLauncher,
        models: Mapping[str, WorkerModel],
        drain_seconds: float,
        end_seconds: float,
        log_directory: Path,
    ) -> None:
        self._run = run
        self._launcher = launcher
        self._models = models
        self._drain_seconds = drain_seconds
        self._end_seconds = end_seconds
        self._log_directory = log_directory
        self._notes = NoteFolder(run.fleet_directory / "workers", WorkerNote)
        self._workers: dict[str, _Worker] = {}
        # By device; whoever is started there next takes the place.
        self._left: dict[str, _Left] = {}
        self._handovers: list[Handover] = []

    def adopt(self) -> list[Post]:
        """Take over the workers an earlier fleet started and still run; return their posts."""
        now = time.monotonic()
        for note in self._notes.read_all():
            if is_running(note.child):
                self._workers[note.post.gpu_id] = _Worker(
                    post=note.post, child=note.child, start_time=now, ready_time=now
                )
                log.info(
                    "worker_adopted",
                    tenant=note.post.tenant_id,
                    gpu=note.post.gpu_id,
                    pid=note.child.pid,
                )
        return [worker.post for worker in self._workers.values()]

    def keep(
        self,
        posts: Sequence[Post],
        *,
        threads: int,
        device_uuids: Mapping[str, str],
    ) -> None:
        """Bring what runs closer to these posts; a device changes hands once its worker ended."""
        wanted = {post.gpu_id: post for post in posts}
        now = time.monotonic()
        for worker in list(self._workers.values()):
            self._look_after(worker, wanted.get(worker.post.gpu_id), now)
        for post in posts:
            worker = self._workers.setdefault(post.gpu_id, _Worker(post=post))
            if worker.post == post and worker.child is None and worker.restarts.may_start(now):
                device_uuid = device_uuids.get(post.gpu_id, "")
                self._start(worker, threads=threads, device_uuid=device_uuid, now=now)

    def note_ready(self, sessions: Collection[SessionRow]) -> None:
        """See who has become ready to draw, and how long it took."""
        ready = {session.process_id for session in sessions if session.ready}
        now = time.monotonic()
        for worker in self._workers.values():
            is_ready = worker.child is not None and worker.child.pid in ready
            if is_ready and worker.ready_time is None:
                worker.ready_time = now
                self._handovers.append(_handover(worker))

    def take_handovers(self) -> list[Handover]:
        """Return the cold starts since the last call."""
        taken, self._handovers = self._handovers, []
        return taken

    def occupants(self) -> dict[str, Occupant]:
        """Return who is on which device, also those that are on their way out."""
        return {
            gpu_id: Occupant(
                post=worker.post, start_time=worker.start_time, ready_time=worker.ready_time
            )
            for gpu_id, worker in self._workers.items()
            if worker.child is not None
        }

    def drain(self, gpu_id: str) -> None:
        """Ask a device's worker to finish and end; another is started if its post stays."""
        worker = self._workers.get(gpu_id)
        if worker is not None and worker.child is not None and worker.kill_time is None:
            self._ask_to_end(worker, time.monotonic())

    def replace_silent(self, sessions: Collection[SessionRow]) -> None:
        """Kill the workers that run but were not heard of for too long; they are started anew."""
        silent = {session.process_id: session for session in sessions if session.silent}
        for worker in self._workers.values():
            if worker.child is not None and worker.child.pid in silent and worker.kill_time is None:
                log.warning("worker_silent", tenant=worker.post.tenant_id, gpu=worker.post.gpu_id)
                kill_group(worker.child)

    def end_all(self) -> None:
        """Ask every worker to end, ask again so that it hands back what it draws, kill the rest."""
        running = [worker for worker in self._workers.values() if worker.child is not None]
        begin = time.monotonic()
        for worker in running:
            if worker.kill_time is None:
                self._ask_to_end(worker, begin)
        _wait_for_all(running, deadline=begin + self._end_seconds * _OWN_SHARE_OF_DRAIN)
        for worker in running:
            assert worker.child is not None
            send(worker.child, signal.SIGTERM)
        _wait_for_all(running, deadline=begin + self._end_seconds)
        for worker in running:
            assert worker.child is not None
            kill_group(worker.child)
            wait_for_end(worker.child, timeout_seconds=_KILL_SECONDS)
            self._notes.remove(worker.post.gpu_id)
        self._workers.clear()

    def rows(self, sessions: Collection[SessionRow]) -> list[WorkerRow]:
        """Return what the operator shall see."""
        ready = {session.process_id for session in sessions if session.ready}
        return [
            WorkerRow(
                tenant_id=worker.post.tenant_id,
                gpu_id=worker.post.gpu_id,
                model=worker.post.model,
                launcher=self._launcher.name,
                isolation=self._launcher.isolation,
                process_id=None if worker.child is None else worker.child.pid,
                state=_state(worker, ready),
                restart_count=worker.restarts.count,
            )
            for worker in self._workers.values()
        ]

    def _look_after(self, worker: _Worker, wanted: Post | None, now: float) -> None:
        if worker.child is not None and not is_running(worker.child):
            self._note_death(worker, now)
        if worker.post != wanted:
            self._give_up_post(worker, now)
        elif worker.child is not None:
            self._kill_if_it_will_not_end(worker, worker.child, now)

    def _note_death(self, worker: _Worker, now: float) -> None:
        worker.child = None
        self._notes.remove(worker.post.gpu_id)
        if worker.kill_time is not None:
            asked_time = worker.kill_time - self._drain_seconds
            self._left[worker.post.gpu_id] = _Left(
                tenant_id=worker.post.tenant_id, drain_seconds=now - asked_time
            )
            worker.kill_time = None
        else:
            wait_seconds = worker.restarts.died(now)
            log.warning(
                "worker_died",
                tenant=worker.post.tenant_id,
                gpu=worker.post.gpu_id,
                restart_seconds=wait_seconds,
            )

    def _give_up_post(self, worker: _Worker, now: float) -> None:
        if worker.child is None:
            del self._workers[worker.post.gpu_id]
            # The meter sees the directory go and stops listening there.
            directory = self._run.gpu_directory(worker.post.tenant_id, worker.post.gpu_id)
            shutil.rmtree(directory, ignore_errors=True)
            log.info("worker_ended", tenant=worker.post.tenant_id, gpu=worker.post.gpu_id)
        elif worker.kill_time is None:
            self._ask_to_end(worker, now)
        else:
            self._kill_if_it_will_not_end(worker, worker.child, now)

    def _kill_if_it_will_not_end(self, worker: _Worker, child: ChildProcess, now: float) -> None:
        """Kill one that hangs: by then it has finished or handed back what it drew."""
        if worker.kill_time is not None and now > worker.kill_time:
            log.warning("worker_killed", tenant=worker.post.tenant_id, gpu=worker.post.gpu_id)
            kill_group(child)

    def _ask_to_end(self, worker: _Worker, now: float) -> None:
        assert worker.child is not None
        worker.kill_time = now + self._drain_seconds
        send(worker.child, signal.SIGTERM)
        log.info("worker_draining", tenant=worker.post.tenant_id, gpu=worker.post.gpu_id)

    def _start(self, worker: _Worker, *, threads: int, device_uuid: str, now: float) -> None:
        post, model = worker.post, self._models[worker.post.model]
        directory = self._run.gpu_directory(post.tenant_id, post.gpu_id)
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        worker.child = self._launcher.start(
            WorkerOrder(
                tenant_id=post.tenant_id,
                gpu_id=post.gpu_id,
                device_uuid=device_uuid,
                model_name=post.model,
                model_path=model.path,
                tenant_directory=self._run.tenant_directory(post.tenant_id),
                batch_slots=model.batch_slots,
                interactive_slots=model.interactive_slots,
                threads=threads,
                drain_seconds=self._drain_seconds * _OWN_SHARE_OF_DRAIN,
                log_path=self._log_directory / f"worker-{post.tenant_id}-{post.gpu_id}.log",
                mark=self._run.mark,
            )
        )
        worker.restarts.started(now)
        worker.start_time, worker.ready_time = now, None
        worker.before = self._left.pop(post.gpu_id, None)
        self._notes.write(post.gpu_id, WorkerNote(post=post, child=worker.child))
        log.info(
            "worker_started",
            tenant=post.tenant_id,
            gpu=post.gpu_id,
            model=post.model,
            pid=worker.child.pid,
            threads=threads,
        )


def _wait_for_all(workers: Sequence[_Worker], *, deadline: float) -> None:
    for worker in workers:
        assert worker.child is not None
        wait_for_end(worker.child, timeout_seconds=max(deadline - time.monotonic(), 0.0))


def _handover(worker: _Worker) -> Handover:
    assert worker.ready_time is not None
    return Handover(
        gpu_id=worker.post.gpu_id,
        model=worker.post.model,
        tenant_id=worker.post.tenant_id,
        from_tenant_id=worker.before.tenant_id if worker.before else None,
        drain_seconds=worker.before.drain_seconds if worker.before else None,
        cold_start_seconds=worker.ready_time - worker.start_time,
    )


def _state(worker: _Worker, ready_process_ids: Collection[int]) -> WorkerState:
    if worker.child is None:
        return WorkerState.STOPPED
    if worker.kill_time is not None:
        return WorkerState.DRAINING
    if worker.child.pid in ready_process_ids:
        return WorkerState.RUNNING
    return WorkerState.STARTING
