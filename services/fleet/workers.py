"""Keeps one worker running on each post, and ends those whose post is given to another."""

import shutil
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import structlog

from services.fleet.allocation import Occupant
from services.fleet.fleet_store import Handover, SessionRow, WorkerRow, WorkerState
from services.fleet.notes import NoteFolder, WorkerNote
from services.fleet.posts import Post
from tenants.ids import SessionId
from tenants.launchers.errors import WorkerRefusedError
from tenants.launchers.restarts import Restarts
from tenants.launchers.worker_launcher import StartedWorker, WorkerLauncher, WorkerOrder
from tenants.run_directory import RunDirectory
from tenants.tenant_directories import TenantDirectories

log = structlog.get_logger()

_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.02
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
    started: StartedWorker | None = None
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
        directories: TenantDirectories,
        models: Mapping[str, WorkerModel],
        drain_seconds: float,
        end_seconds: float,
        log_directory: Path,
    ) -> None:
        self._run = run
        self._launcher = launcher
        self._directories = directories
        self._models = models
        self._drain_seconds = drain_seconds
        self._end_seconds = end_seconds
        self._log_directory = log_directory
        self._notes = NoteFolder(run.fleet_directory / "workers", WorkerNote)
        self._workers: dict[str, _Worker] = {}
        # Since the start of this process, by device; those that would not start included.
        self.deaths: Counter[str] = Counter()
        # By device; whoever is started there next takes the place.
        self._left: dict[str, _Left] = {}
        self._handovers: list[Handover] = []

    def adopt(self) -> list[Post]:
        """Take over the workers an earlier fleet started and still run; return their posts."""
        now = time.monotonic()
        for note in self._notes.read_all():
            if self._launcher.is_running(note.started):
                self._workers[note.post.gpu_id] = _Worker(
                    post=note.post, started=note.started, start_time=now, ready_time=now
                )
                log.info(
                    "worker_adopted",
                    tenant=note.post.tenant_id,
                    gpu=note.post.gpu_id,
                    pid=note.started.process_id,
                )
        self._launcher.forget_others(
            [worker.started for worker in self._workers.values() if worker.started is not None]
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
            if worker.post == post and worker.started is None and worker.restarts.may_start(now):
                device_uuid = device_uuids.get(post.gpu_id, "")
                self._start(worker, threads=threads, device_uuid=device_uuid, now=now)

    def note_ready(self, sessions: Collection[SessionRow]) -> None:
        """See who has become ready to draw, and how long it took."""
        ready = {session.session_id for session in sessions if session.ready}
        now = time.monotonic()
        for worker in self._workers.values():
            is_ready = worker.started is not None and worker.started.session_id in ready
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
            if worker.started is not None
        }

    def drain(self, gpu_id: str) -> None:
        """Ask a device's worker to finish and end; another is started if its post stays."""
        worker = self._workers.get(gpu_id)
        if worker is not None and worker.started is not None and worker.kill_time is None:
            self._ask_to_end(worker, worker.started, time.monotonic())

    def replace_silent(self, sessions: Collection[SessionRow]) -> None:
        """Kill the workers that run but were not heard of for too long; they are started anew."""
        silent = {session.session_id for session in sessions if session.silent}
        for worker in self._workers.values():
            started = worker.started
            if started is None or worker.kill_time is not None:
                continue
            if started.session_id in silent:
                log.warning("worker_silent", tenant=worker.post.tenant_id, gpu=worker.post.gpu_id)
                self._launcher.kill(started)

    def end_all(self) -> None:
        """Ask every worker to end, ask again so that it hands back what it draws, kill the rest."""
        running = [
            (worker, worker.started)
            for worker in self._workers.values()
            if worker.started is not None
        ]
        everyone = [started for _, started in running]
        begin = time.monotonic()
        for worker, started in running:
            if worker.kill_time is None:
                self._ask_to_end(worker, started, begin)
        self._wait_for(everyone, deadline=begin + self._end_seconds * _OWN_SHARE_OF_DRAIN)
        for started in everyone:
            self._launcher.ask_to_end(started)
        self._wait_for(everyone, deadline=begin + self._end_seconds)
        for started in everyone:
            self._launcher.kill(started)
        self._wait_for(everyone, deadline=time.monotonic() + _KILL_SECONDS)
        for worker, _ in running:
            self._notes.remove(worker.post.gpu_id)
        self._workers.clear()

    def rows(self, sessions: Collection[SessionRow]) -> list[WorkerRow]:
        """Return what the operator shall see."""
        ready = {session.session_id for session in sessions if session.ready}
        return [
            WorkerRow(
                tenant_id=worker.post.tenant_id,
                gpu_id=worker.post.gpu_id,
                model=worker.post.model,
                launcher=self._launcher.name,
                isolation=self._launcher.isolation,
                process_id=None if worker.started is None else worker.started.process_id,
                state=_state(worker, ready),
                restart_count=worker.restarts.count,
            )
            for worker in self._workers.values()
        ]

    def _look_after(self, worker: _Worker, wanted: Post | None, now: float) -> None:
        if worker.started is not None and not self._launcher.is_running(worker.started):
            self._note_death(worker, now)
        if worker.post != wanted:
            self._give_up_post(worker, now)
        elif worker.started is not None:
            self._kill_if_it_will_not_end(worker, worker.started, now)

    def _note_death(self, worker: _Worker, now: float) -> None:
        worker.started = None
        self._notes.remove(worker.post.gpu_id)
        if worker.kill_time is not None:
            asked_time = worker.kill_time - self._drain_seconds
            self._left[worker.post.gpu_id] = _Left(
                tenant_id=worker.post.tenant_id, drain_seconds=now - asked_time
            )
            worker.kill_time = None
        else:
            wait_seconds = worker.restarts.died(now)
            self.deaths[worker.post.gpu_id] += 1
            log.warning(
                "worker_died",
                tenant=worker.post.tenant_id,
                gpu=worker.post.gpu_id,
                restart_seconds=wait_seconds,
            )

    def _give_up_post(self, worker: _Worker, now: float) -> None:
        if worker.started is None:
            del self._workers[worker.post.gpu_id]
            # The meter sees the directory go and stops listening there.
            directory = self._run.gpu_directory(worker.post.tenant_id, worker.post.gpu_id)
            shutil.rmtree(directory, ignore_errors=True)
            log.info("worker_ended", tenant=worker.post.tenant_id, gpu=worker.post.gpu_id)
        elif worker.kill_time is None:
            self._ask_to_end(worker, worker.started, now)
        else:
            self._kill_if_it_will_not_end(worker, worker.started, now)

    def _kill_if_it_will_not_end(self, worker: _Worker, started: StartedWorker, now: float) -> None:
        """Kill one that hangs: by then it has finished or handed back what it drew."""
        if worker.kill_time is not None and now > worker.kill_time:
            log.warning("worker_killed", tenant=worker.post.tenant_id, gpu=worker.post.gpu_id)
            self._launcher.kill(started)

    def _ask_to_end(self, worker: _Worker, started: StartedWorker, now: float) -> None:
        worker.kill_time = now + self._drain_seconds
        self._launcher.ask_to_end(started)
        log.info("worker_draining", tenant=worker.post.tenant_id, gpu=worker.post.gpu_id)

    def _start(self, worker: _Worker, *, threads: int, device_uuid: str, now: float) -> None:
        post = worker.post
        self._directories.make_gpu(post.tenant_id, post.gpu_id)
        try:
            started = self._launcher.start(self._order(post, threads, device_uuid))
        except WorkerRefusedError as error:
            wait_seconds = worker.restarts.died(now)
            self.deaths[post.gpu_id] += 1
            log.error(  # noqa: TRY400 -- the words say what is missing; no trace helps
                "worker_refused",
                tenant=post.tenant_id,
                gpu=post.gpu_id,
                restart_seconds=wait_seconds,
                reason=str(error),
            )
            return
        self._notes.write(post.gpu_id, WorkerNote(post=post, started=started))
        worker.started = started
        worker.restarts.started(now)
        worker.start_time, worker.ready_time = now, None
        worker.before = self._left.pop(post.gpu_id, None)
        log.info(
            "worker_started",
            tenant=post.tenant_id,
            gpu=post.gpu_id,
            model=post.model,
            pid=started.process_id,
            threads=threads,
        )

    def _order(self, post: Post, threads: int, device_uuid: str) -> WorkerOrder:
        model = self._models[post.model]
        return WorkerOrder(
            session_id=SessionId(uuid4().hex),
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

    def _wait_for(self, workers: Sequence[StartedWorker], *, deadline: float) -> None:
        while any(self._launcher.is_running(started) for started in workers):
            if time.monotonic() > deadline:
                return
            time.sleep(_POLL_SECONDS)


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


def _state(worker: _Worker, ready_session_ids: Collection[SessionId]) -> WorkerState:
    if worker.started is None:
        return WorkerState.STOPPED
    if worker.kill_time is not None:
        return WorkerState.DRAINING
    if worker.started.session_id in ready_session_ids:
        return WorkerState.RUNNING
    return WorkerState.STARTING
