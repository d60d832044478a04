"""What worker and recorder do with a job, done by a test through the recorder's own stores."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from database.pool import Pool, tenant_transaction
from metering.energy_source import EnergySource
from metering.usage_records import BatchShare
from services.internal.v1 import recorder_pb2_grpc
from services.jobs import claims, finishes, worker_session_store
from services.jobs.charging import DrawnAttempt, DrawnEnergy
from services.jobs.finishes import FinishAnswer
from services.jobs.picture_store import NewPicture
from services.jobs.records import AttemptKey, ClaimedImage, WorkerIdentity
from services.jobs.worker_session_store import Heartbeat
from services.object_store import ObjectStoreDoor
from services.recorder.gateway_service import PictureService
from services.recorder.spool import Spool, spool_name
from tenants.ids import GpuId, SessionId, TenantId
from tenants.run_directory import RunDirectory

WORKER = WorkerIdentity(
    session_id=SessionId("a-session"), gpu_id=GpuId("cpu-0"), model="test-model"
)
ENERGY = DrawnEnergy(millijoules=9_000, error_millijoules=400, source=EnergySource.ESTIMATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawer:
    """Claims and ends images of one tenant."""

    pool: Pool
    tenant_id: TenantId
    spool: Spool

    async def claim(self) -> ClaimedImage:
        session = WorkerIdentity(
            session_id=SessionId(f"session-of-{self.tenant_id}"),
            gpu_id=WORKER.gpu_id,
            model=WORKER.model,
        )
        async with tenant_transaction(self.pool, self.tenant_id) as conn:
            await worker_session_store.heartbeat(
                conn,
                Heartbeat(
                    worker=session,
                    process_id=1,
                    ready=True,
                    waiting_tokens=0,
                    batch_slots_free=1,
                    interactive_slots_free=1,
                    engine_step_counter=0,
                    running=(),
                ),
                tenant_id=self.tenant_id,
                lease_seconds=15,
            )
            claimed = await claims.claim_image(
                conn,
                session,
                tenant_id=self.tenant_id,
                interactive_only=False,
                nothing_in_flight=True,
            )
        assert claimed is not None
        return claimed

    async def succeed(self, claimed: ClaimedImage, picture: bytes = b"picture") -> FinishAnswer:
        key = claimed.attempt
        self.spool.path(spool_name(key)).write_bytes(picture)
        async with tenant_transaction(self.pool, self.tenant_id) as conn:
            return await finishes.succeed_image(
                conn,
                DrawnAttempt(
                    key=key,
                    session_id=SessionId(f"session-of-{self.tenant_id}"),
                    gpu_id=WORKER.gpu_id,
                    precision="fp32 cpu",
                    batch_shares=(BatchShare(batch_size=1, step_count=4),),
                    gpu_seconds=1.5,
                    queue_seconds=0.1,
                    last_mark_number=3,
                    energy=ENERGY,
                ),
                NewPicture(
                    sha256=hashlib.sha256(picture).hexdigest(),
                    byte_count=len(picture),
                    content_type="image/png",
                    width=128,
                    height=128,
                    spool_name=spool_name(key),
                ),
            )

    async def fail(self, key: AttemptKey) -> None:
        async with tenant_transaction(self.pool, self.tenant_id) as conn:
            await finishes.fail_image(
                conn,
                key,
                began_step=True,
                failure_reason="OUT_OF_MEMORY",
                failure_message="the picture is too large for the GPU",
            )


@asynccontextmanager
async def recorder_for_gateways(pool: Pool, run_directory: Path) -> AsyncGenerator[Spool]:
    """Serve the recorder's socket for gateways, with a spool."""
    spool = Spool(run_directory / "spool")
    spool.directory.mkdir(exist_ok=True)
    objects_url = (run_directory / "objects").as_uri()
    server = grpc.aio.server()
    recorder_pb2_grpc.add_RecorderServiceServicer_to_server(
        PictureService(pool=pool, spool=spool, store=ObjectStoreDoor(objects_url)), server
    )
    server.add_insecure_port(f"unix:{RunDirectory(run_directory).recorder_gateway_socket}")
    await server.start()
    try:
        yield spool
    finally:
        await server.stop(None)
