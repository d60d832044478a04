"""What a fleet does that assigns nothing: it keeps the cards of all nodes cool and in sight.

Kubernetes places the workers; their pace reaches them as anywhere, with the recorder's answers.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from database.pool import Connection
from services.fleet.fleet_store import (
    SessionRow,
    WorkerRow,
    WorkerState,
    read_policies,
    read_sessions,
    write_workers,
)
from services.fleet.heat import Heat
from services.fleet.inventory import Inventory
from services.fleet.meters import Meters
from services.fleet.sensing import Sensing
from services.fleet.settings import Settings
from services.fleet.watch import SENSE_SECONDS, sleep
from services.transport.tls_files import identity_files

LAUNCHER: Final = "kubernetes"
ISOLATION: Final = "a pod of its own; whether its fences hold is not seen from here"


async def watch_nodes(settings: Settings, connection: Connection, stop: asyncio.Event) -> None:
    """Take turns until it is told to stop; raises what tells that PostgreSQL is gone."""
    assert settings.identity_directory is not None, "the settings have been checked"
    sensing = Sensing(
        connection,
        inventory=Inventory(configured_ids=()),
        heat=Heat(settings.power_policy),
    )
    await sensing.remember()
    files = identity_files(settings.identity_directory)
    async with Meters(settings.meter_addresses, files) as meters:
        while not stop.is_set():
            await sensing.ask(meters)
            await sensing.keep_cool(await read_policies(connection))
            sessions = await read_sessions(connection, silence_seconds=settings.silence_seconds)
            await write_workers(connection, shown_workers(sessions))
            await sleep(SENSE_SECONDS, stop)


def shown_workers(sessions: Sequence[SessionRow]) -> list[WorkerRow]:
    """Say of the workers what they said of themselves; of two on one device the newer one."""
    by_gpu = {
        session.gpu_id: WorkerRow(
            tenant_id=session.tenant_id,
            gpu_id=session.gpu_id,
            model=session.model,
            launcher=LAUNCHER,
            isolation=ISOLATION,
            process_id=session.process_id,
            state=WorkerState.RUNNING if session.ready else WorkerState.STARTING,
            # The kubelet counts them.
            restart_count=0,
        )
        for session in sorted(sessions, key=lambda session: session.start_time)
        if not session.silent
    }
    return list(by_gpu.values())
