"""What 10,000 forged keys a second cost the gateway's database, memory and other callers.

    python benchmarks/forged_keys.py [--rate 10000] [--seconds 10] [--forgers 2] [--connections 8]

One gateway process over an embedded PostgreSQL. Forgers are processes that send well-formed keys
with right checksums and ids that nobody has, as fast as the machine lets them up to the rate. The
neighbour is a studio that asks for its balance again and again: alone, and then in the flood.
Writes benchmarks/results/forged_keys.json.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import psycopg
from machine import describe_machine, write_result

from atelier.client import Client
from atelier.statuses import error_from_rpc
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.billing_service_pb2 import GetBalanceRequest
from atelier.v1.billing_service_pb2_grpc import BillingServiceStub
from atelier.v1.tenant_service_pb2 import Tenant
from database.migration_runner import migrate
from database.roles import RUN_TIME_ROLES
from services.gateway.bootstrap import make_first_operator_key
from services.standalone.embedded_postgres import start_postgres
from tenants.api_keys import new_key
from tests.integration.fixture_types import PASSWORD, Postgres

RESULT: Final = Path(__file__).parent / "results" / "forged_keys.json"
PEPPER: Final = "a pepper for benchmarks, 32 characters"
IN_FLIGHT_PER_CONNECTION: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A gateway that serves, and the studio beside which forgers come."""

    postgres: Postgres
    address: str
    process_id: int
    studio_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What was seen in a stretch of time."""

    neighbour_calls: int
    neighbour_p50_milliseconds: float
    neighbour_p99_milliseconds: float
    forged_per_second: float
    forged_answers: dict[str, int]
    database_transactions_per_second: float
    resident_mebibytes_before: float
    resident_mebibytes_after: float


def forge(address: str, rate: float, seconds: float, connections: int) -> Counter[str]:
    """Send forged keys from this process; returns how they were answered."""
    return asyncio.run(_forge(address, rate, seconds, connections))


async def _forge(address: str, rate: float, seconds: float, connections: int) -> Counter[str]:
    answers: Counter[str] = Counter()
    stop_at = time.monotonic() + seconds
    stubs: list[BillingServiceStub] = []
    for number in range(connections):
        # One connection each: channels of the same arguments share one.
        options = [("grpc.use_local_subchannel_pool", 1), ("forger", number)]
        stubs.append(BillingServiceStub(grpc.aio.insecure_channel(address, options=options)))
    room = asyncio.Semaphore(connections * IN_FLIGHT_PER_CONNECTION)
    calls: set[asyncio.Task[None]] = set()

    async def send(stub: BillingServiceStub) -> None:
        key = new_key(pepper=b"not the installation's").text
        try:
            call: Any = stub.GetBalance(
                GetBalanceRequest(name="tenants/-/balance"),
                metadata=(("authorization", f"Bearer {key}"),),
                timeout=30,
            )
            await call
        except grpc.aio.AioRpcError as error:
            answers[error_from_rpc(error).reason or error.code().name] += 1
        finally:
            room.release()

    sent, start = 0, time.monotonic()
    while time.monotonic() < stop_at:
        await room.acquire()
        task = asyncio.create_task(send(stubs[sent % connections]))
        calls.add(task)
        task.add_done_callback(calls.discard)
        sent += 1
        ahead = sent / rate - (time.monotonic() - start)
        await asyncio.sleep(max(ahead, 0.0))
    await asyncio.gather(*calls)
    return answers


async def neighbour(address: str, key: str, seconds: float) -> Sequence[float]:
    """Ask for a balance again and again; returns how long each answer took."""
    channel = grpc.aio.insecure_channel(address)
    stub: Any = BillingServiceStub(channel)
    took: list[float] = []
    stop_at = time.monotonic() + seconds
    while time.monotonic() < stop_at:
        start = time.monotonic()
        await stub.GetBalance(
            GetBalanceRequest(name="tenants/-/balance"),
            metadata=(("authorization", f"Bearer {key}"),),
            timeout=30,
        )
        took.append(time.monotonic() - start)
        await asyncio.sleep(0.005)
    await channel.close()
    return took


def phase(door: Door, arguments: argparse.Namespace, *, flood: bool) -> Phase:
    """Watch the neighbour for a while, with forgers or without."""
    rate = arguments.rate / arguments.forgers
    memory, transactions = resident(door.process_id), committed(door.postgres)
    start = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(arguments.forgers) as forgers:
        jobs = [
            forgers.apply_async(
                forge, (door.address, rate, arguments.seconds, arguments.connections)
            )
            for _ in range(arguments.forgers if flood else 0)
        ]
        took = asyncio.run(neighbour(door.address, door.studio_key, arguments.seconds))
        seconds = time.monotonic() - start
        answers = sum((job.get() for job in jobs), Counter[str]())
    return Phase(
        neighbour_calls=len(took),
        neighbour_p50_milliseconds=round(statistics.median(took) * 1000, 2),
        neighbour_p99_milliseconds=round(statistics.quantiles(took, n=100)[98] * 1000, 2),
        forged_per_second=round(answers.total() / seconds),
        forged_answers=dict(answers),
        database_transactions_per_second=round(
            (committed(door.postgres) - transactions) / seconds, 1
        ),
        resident_mebibytes_before=memory,
        resident_mebibytes_after=resident(door.process_id),
    )


def free_address() -> str:
    """Name a port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def resident(pid: int) -> float:
    """Read the memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def committed(postgres: Postgres) -> int:
    """Count the database's transactions; sessions report theirs once a second."""
    time.sleep(1.5)
    with psycopg.connect(postgres.admin_url) as connection:
        row = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def served(postgres: Postgres, directory: Path, address: str) -> Generator[subprocess.Popen[bytes]]:
    """A gateway as a process of its own."""
    (directory / "objects").mkdir()
    values = {
        "LISTEN_ADDRESS": address,
        "DATABASE_URL": postgres.url("atelier_gateway"),
        "OPERATOR_DATABASE_URL": postgres.url("atelier_operator"),
        "RUN_DIRECTORY": str(directory),
        "OBJECTS_URL": (directory / "objects").as_uri(),
        "KEY_PEPPER": PEPPER,
        "PAGE_TOKEN_SECRET": "a secret for benchmarks, 32 characters",
    }
    environment = os.environ | {f"ATELIER_GATEWAY_{name}": text for name, text in values.items()}
    with (directory / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.gateway"], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def studio_key(address: str, operator_key: str) -> str:
    """Make a studio; returns the key of a member."""
    with Client(address, api_key=operator_key) as operator:
        operator.create_tenant("neighbour", Tenant(display_name="Neighbour"))
    with Client(address, api_key=operator_key, tenant="neighbour") as operator:
        return operator.create_api_key(ApiKey(role=KeyRole.KEY_ROLE_MEMBER)).secret


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=10_000.0, help="forged keys a second, wished")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--forgers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=8, help="of each forger")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="atl-"))
    directory.chmod(0o755)
    server = start_postgres(
        data_directory=directory / "data",
        socket_directory=directory / "socket",
        log_path=directory / "postgres.log",
        admin_password=PASSWORD,
    )
    try:
        migrate(server.admin_url, role_passwords=dict.fromkeys(RUN_TIME_ROLES, PASSWORD))
        postgres = Postgres(admin_url=server.admin_url)
        operator_key = asyncio.run(
            make_first_operator_key(
                postgres.url("atelier_operator"), pepper=PEPPER.encode(), another=False
            )
        )
        address = free_address()
        with served(postgres, directory, address) as gateway:
            door = Door(
                postgres=postgres,
                address=address,
                process_id=gateway.pid,
                studio_key=studio_key(address, operator_key),
            )
            phases = {
                name: phase(door, arguments, flood=name == "in_the_flood")
                for name in ("warm_up", "alone", "in_the_flood", "afterwards")
            }
    finally:
        server.stop()
        shutil.rmtree(directory)
    del phases["warm_up"]
    result = {
        "machine": describe_machine(),
        "command": "python benchmarks/forged_keys.py " + " ".join(sys.argv[1:]),
        "wished_forged_per_second": arguments.rate,
        **{name: asdict(seen) for name, seen in phases.items()},
    }
    print(json.dumps(result, indent=2))
    write_result(result, RESULT)


if __name__ == "__main__":
    main()
