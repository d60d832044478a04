"""One tenant's chain as real processes: broker, recorder, meter, housekeeper, workers.

Leases are short, so that what is lost comes back within seconds; all else is as in production.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from services.dispatch.token_publisher import publish_tokens
from services.fleet.broker import start_broker, stop_broker
from services.jobs.image_states import JobState
from services.jobs.records import ImageSpec, Job
from services.liveness.pulse import PULSE_VARIABLE
from services.transport.broker_places import BrokerPlaces
from tenants.launchers.child_process import ChildProcess, kill_group
from tenants.run_directory import RunDirectory
from tests.integration.installation import (
    MODEL,
    PRICE_NANOS,
    Process,
    Studio,
    eventually,
    recorder_process,
)

LEASE_SECONDS = 3.0
WORKER_START_SECONDS = 110.0


@dataclass(slots=True, kw_only=True)
class Chain:
    """What runs, and the tenant that it runs for."""

    run: RunDirectory
    studio: Studio
    checkpoint: Path
    broker: ChildProcess | None = None
    services: dict[str, Process] = field(default_factory=dict[str, Process])
    workers: dict[str, Process] = field(default_factory=dict[str, Process])

    def start(self) -> None:
        """Start all but the workers."""
        self.start_broker()
        self.services = {
            "recorder": recorder_process(
                self.studio.postgres, self.run.path, lease_seconds=LEASE_SECONDS, unheld_seconds=2.0
            ),
            "meter": self._process(
                "meter", use_gpus="false", cpu_device_count=2, run_directory=self.run.path
            ),
            "housekeeper": self._process(
                "housekeeper",
                database_url=self.studio.postgres.url("atelier_housekeeper"),
                run_directory=self.run.path,
                objects_url=(self.run.path / "objects").as_uri(),
                lease_seconds=LEASE_SECONDS,
                sweep_seconds=0.5,
            ),
        }
        for process in self.services.values():
            process.start()

    def start_broker(self) -> None:
        socket_path = self.run.broker_socket(self.studio.tenant_id)
        socket_path.unlink(missing_ok=True)
        self.broker = start_broker(
            socket_path=socket_path,
            data_directory=self.run.path / "broker",
            log_path=self.run.path / "broker.log",
            death_signal=signal.SIGTERM,
        )

    def kill_broker(self) -> None:
        """As if the machine took it; what it had appended stays."""
        assert self.broker is not None
        kill_group(self.broker)

    def end(self) -> None:
        for process in (*self.workers.values(), *self.services.values()):
            process.end()
        if self.broker is not None:
            stop_broker(self.broker)

    async def worker(self, gpu_id: str = "cpu-0", **settings: object) -> Process:
        """The worker on a device, started unless it runs; ready to claim."""
        process = self.workers.get(gpu_id)
        if process is None or not process.is_running:
            process = self._worker(gpu_id, **settings)
            self.workers[gpu_id] = process
            process.start()
        await self.until_ready(process)
        return process

    async def until_ready(self, process: Process) -> None:
        async def ready() -> bool | None:
            assert process.is_running, process.log()[-3000:]
            rows = await self.studio.rows(
                "SELECT 1 FROM worker_sessions WHERE tenant_id = %s AND process_id = %s AND ready",
                self.studio.tenant_id,
                process.process_id,
            )
            return bool(rows) or None

        await eventually(ready, seconds=WORKER_START_SECONDS, what="a worker that is ready")

    async def submit(self, *specs: ImageSpec, tokens: int | None = None) -> Job:
        """Accept a job and publish its tokens, as the gateway does."""
        job = await self.studio.accept(*specs)
        await self.publish(len(specs) if tokens is None else tokens)
        return job

    async def publish(self, count: int) -> None:
        await asyncio.to_thread(
            publish_tokens,
            BrokerPlaces(run=self.run),
            tenant_id=self.studio.tenant_id,
            model=MODEL,
            count=count,
        )

    async def until_drawing(self, job: Job, *, attempt: int = 1) -> str:
        """Wait until the recorder knows that a step of one of the job's images has begun."""

        async def begun() -> str | None:
            rows = await self.studio.rows(
                "SELECT image_id FROM attempts WHERE job_id = %s AND began_step"
                " AND attempt = %s AND outcome IS NULL",
                job.job_id,
                attempt,
            )
            return str(rows[0]["image_id"]) if rows else None

        return await eventually(begun, what="an image that is being drawn")

    async def attempts(self, job: Job) -> list[tuple[object, object, object]]:
        """Each attempt of the job: image number, attempt, outcome."""
        rows = await self.studio.rows(
            "SELECT image_number, attempts.attempt, outcome FROM attempts JOIN images"
            " USING (image_id) WHERE attempts.job_id = %s ORDER BY 1, 2",
            job.job_id,
        )
        return [(row["image_number"], row["attempt"], row["outcome"]) for row in rows]

    async def assert_each_image_is_billed_once(self, job: Job, *, image_count: int) -> None:
        ended = await self.studio.until_ended(job)
        assert ended.state is JobState.SUCCEEDED
        rows = await self.studio.rows(
            "SELECT amount_nanos FROM transfers WHERE job_id = %s AND kind = 'POST'", job.job_id
        )
        assert [row["amount_nanos"] for row in rows] == [PRICE_NANOS] * image_count
        assert await self.studio.violations() == {}

    def pulse_path(self, gpu_id: str) -> Path:
        """Where a device's worker tells until when it is alive."""
        return self.run.path / f"pulse-{gpu_id}"

    async def probe(self, gpu_id: str = "cpu-0") -> int:
        """Ask as Kubernetes does whether a worker lives and takes images; 0: yes."""
        asked = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.liveness.alive", "--ready"),
            env={**os.environ, PULSE_VARIABLE: str(self.pulse_path(gpu_id))},
        )
        return await asked.wait()

    def _worker(self, gpu_id: str, **settings: object) -> Process:
        self.run.gpu_directory(self.studio.tenant_id, gpu_id).mkdir(exist_ok=True)
        return self._process(
            "worker",
            log_name=f"worker-{gpu_id}",
            environment={PULSE_VARIABLE: str(self.pulse_path(gpu_id))},
            **{
                "tenant_directory": self.run.tenant_directory(self.studio.tenant_id),
                "gpu_id": gpu_id,
                "model_name": MODEL,
                "model_path": self.checkpoint,
                "device": "cpu",
                "batch_slots": 2,
                "interactive_slots": 1,
                "heartbeat_seconds": 0.2,
                "drain_seconds": 20.0,
            }
            | settings,
        )

    def _process(
        self,
        name: str,
        *,
        log_name: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
        **settings: object,
    ) -> Process:
        return Process(
            name=name,
            environment={
                **environment,
                **{
                    f"ATELIER_{name.upper()}_{key.upper()}": str(value)
                    for key, value in settings.items()
                },
            },
            log_path=self.run.path / f"{log_name or name}.log",
        )
