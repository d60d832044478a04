"""What 10,000 forged keys a second cost the database, memory and other callers.

    python benchmarks/forged_keys.py [--rate 10000] [--seconds 10] [--rounds 2] [--pin]

A gateway behind its edge (docker/edge/haproxy.cfg, as it ships) over an embedded PostgreSQL, all
with TLS. A forger sends well-formed keys with right checksums and ids that nobody has, each another
one, over connections that stand before: from the neighbour's own address, and from 250 addresses.
The neighbour is a studio that asks for its balance again and again, without a flood and in it by
turns. At the end the forger goes to the gateway itself, past the edge, to show the difference.

With --pin forger and edge have one core and gateway, database and neighbour the other, in every
phase; without, all share all cores. Needs Debian's haproxy (`make test-edge` installs it). Writes
benchmarks/results/forged_keys.json, or forged_keys_pinned.json.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from machine import describe_machine, write_result
from parts.flooded_door import Door, open_door

from atelier.v1.billing_service_pb2 import GetBalanceRequest
from atelier.v1.billing_service_pb2_grpc import BillingServiceStub
from tenants.api_keys import new_key
from tests.integration.edge.forger import Flood, Target, flood

RESULTS: Final = Path(__file__).parent / "results"
OWN_ADDRESS: Final = ("127.0.0.1",) * 16
MANY_ADDRESSES: Final = tuple(f"127.0.1.{number}" for number in range(1, 251))
# gRPC's numbers.
ANSWERS: Final = {
    "16": "refused by the gateway (UNAUTHENTICATED)",
    "8": "refused by the edge, or by the gateway past it (RESOURCE_EXHAUSTED)",
    "14": "UNAVAILABLE",
}
NO_FLOOD: Final = Flood(answers=Counter(), seconds=1.0)
FORGERS_CORE, OTHERS_CORE = 1, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What was seen in a stretch of time."""

    name: str
    neighbour_calls: int
    neighbour_failures: int
    neighbour_p50_milliseconds: float
    neighbour_p99_milliseconds: float
    forged_per_second: float
    forged_answers: dict[str, int]
    database_transactions_per_second: float
    cores_busy: dict[str, float]
    memory_mebibytes_before: dict[str, float]
    memory_mebibytes_after: dict[str, float]


def forge(
    target: Target, arguments: argparse.Namespace, sources: Sequence[str], ready: Event, go: Event
) -> Flood:
    """Send forged keys from this process."""
    if arguments.pin:
        os.sched_setaffinity(0, {FORGERS_CORE})
    count = int(arguments.rate * arguments.seconds)
    keys = [new_key(pepper=b"not the installation's").text for _ in range(count)]

    def wait() -> None:
        ready.set()
        go.wait()

    return asyncio.run(
        flood(
            target,
            keys,
            per_second=arguments.rate,
            sources=sources,
            answer_seconds=3,
            connected=wait,
        )
    )


async def neighbour(door: Door, port: int, seconds: float) -> tuple[Sequence[float], int]:
    """Ask for a balance again and again; returns how long each took, and how many failed."""
    credentials = grpc.ssl_channel_credentials(door.certificates.authority)
    channel = grpc.aio.secure_channel(f"localhost:{port}", credentials)
    stub: Any = BillingServiceStub(channel)
    took: list[float] = []
    failed_count = 0
    stop_at = time.monotonic() + seconds
    while time.monotonic() < stop_at:
        start = time.monotonic()
        try:
            await stub.GetBalance(
                GetBalanceRequest(name="tenants/-/balance"),
                metadata=(("authorization", f"Bearer {door.studio_key}"),),
                timeout=60,
            )
        except grpc.aio.AioRpcError:
            failed_count += 1
        took.append(time.monotonic() - start)
        await asyncio.sleep(0.005)
    await channel.close()
    return took, failed_count


def phase(
    door: Door,
    arguments: argparse.Namespace,
    name: str,
    sources: Sequence[str] = (),
    *,
    port: int | None = None,
) -> Phase:
    """Watch the neighbour for a while, with forgers from these addresses or without."""
    port = port or door.edge_port
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(1) as forgers:
        ready, go = manager.Event(), manager.Event()
        target = Target(host="127.0.0.1", port=port)
        flooding = None
        if sources:
            flooding = forgers.apply_async(forge, (target, arguments, sources, ready, go))
            ready.wait()
        memory, transactions = door.memory_mebibytes(), door.transactions()
        worked, start = door.processor_seconds(), time.monotonic()
        go.set()
        took, failed_count = asyncio.run(neighbour(door, port, arguments.seconds))
        seconds = time.monotonic() - start
        worked_now = door.processor_seconds()
        transactions = door.transactions() - transactions
        done = flooding.get() if flooding else NO_FLOOD
    return Phase(
        name=name,
        neighbour_calls=len(took),
        neighbour_failures=failed_count,
        neighbour_p50_milliseconds=round(statistics.median(took) * 1000, 2),
        neighbour_p99_milliseconds=round(p99(took) * 1000, 2),
        forged_per_second=round(done.answers.total() / done.seconds),
        forged_answers={ANSWERS.get(code, code): count for code, count in done.answers.items()},
        database_transactions_per_second=round(transactions / seconds, 1),
        cores_busy={
            part: round((now - worked[part]) / seconds, 2) for part, now in worked_now.items()
        },
        memory_mebibytes_before=memory,
        memory_mebibytes_after=door.memory_mebibytes(),
    )


def p99(took: Sequence[float]) -> float:
    """The time that one call in a hundred exceeds."""
    return sorted(took)[math.ceil(len(took) * 0.99) - 1]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=10_000.0, help="forged keys a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--pin", action="store_true", help="forgers and edge on a core of their own"
    )
    arguments = parser.parse_args()
    if arguments.pin:
        os.sched_setaffinity(0, {OTHERS_CORE})
    with open_door(edge_cores=[FORGERS_CORE] if arguments.pin else []) as door:
        phase(door, arguments, "warm_up")
        phases = [
            seen
            for _ in range(arguments.rounds)
            for seen in (
                phase(door, arguments, "alone"),
                phase(door, arguments, "flood_from_its_own_address", OWN_ADDRESS),
                phase(door, arguments, "flood_from_250_addresses", MANY_ADDRESSES),
            )
        ]
        phases.append(phase(door, arguments, "past_the_edge", OWN_ADDRESS, port=door.gateway_port))
    result = {
        "machine": describe_machine(),
        "command": "python benchmarks/forged_keys.py " + " ".join(sys.argv[1:]),
        "p99_milliseconds_median_of_rounds": medians(phases),
        "phases": [asdict(seen) for seen in phases],
    }
    print(json.dumps(result, indent=2))
    write_result(result, RESULTS / f"forged_keys{'_pinned' if arguments.pin else ''}.json")


def medians(phases: Sequence[Phase]) -> dict[str, float]:
    """The neighbour's p99 in each kind of phase: the round in the middle."""
    kinds = dict.fromkeys(seen.name for seen in phases)
    return {
        kind: statistics.median(
            seen.neighbour_p99_milliseconds for seen in phases if seen.name == kind
        )
        for kind in kinds
    }


if __name__ == "__main__":
    main()
