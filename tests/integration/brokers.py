"""Brokers of several tenants on one host, and what fills one."""

import signal
from collections.abc import Generator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import OutOfMemoryError

from services.fleet.broker import start_broker, stop_broker
from tenants.run_directory import RunDirectory


@contextmanager
def running_broker(run: RunDirectory, tenant_id: str) -> Generator[Redis]:
    """Run a tenant's broker, whose directory is there; yields a client of its own."""
    socket_path = run.broker_socket(tenant_id)
    child = start_broker(
        socket_path=socket_path,
        data_directory=run.path / f"data-{tenant_id}",
        log_path=run.path / f"{tenant_id}.log",
        death_signal=signal.SIGTERM,
    )
    try:
        with Redis(unix_socket_path=str(socket_path)) as client:
            yield client
    finally:
        stop_broker(child)


def fill(client: Redis) -> None:
    """Put ever smaller things into a broker until not even the smallest has room."""
    # Larger ones would swell the connection's own buffer, whose shrinking makes room again.
    for size_bytes in (16 * 1024, 64):
        while _takes(client, b"x" * size_bytes):
            pass


def _takes(client: Redis, hog: bytes) -> bool:
    try:
        client.rpush("hogs", hog)
    except OutOfMemoryError:
        return False
    return True
