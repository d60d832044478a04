"""Strangers at the edge: a flood is refused there, and nobody whose key is good notices."""

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atelier.async_client import AsyncClient
from atelier.errors import CallError, RateLimitedError
from atelier.retries import RetryPolicy
from atelier.v1.billing_service_pb2 import GetBalanceRequest
from atelier.v1.billing_service_pb2_grpc import BillingServiceStub
from tenants.api_keys import new_key
from tests.integration.edge.forger import Target, flood
from tests.integration.edge.running_edge import Edge, Studio, running_edge
from tests.integration.fixture_types import Postgres

pytestmark = [pytest.mark.integration, pytest.mark.edge]

# gRPC's numbers.
INVALID, EXHAUSTED, UNAUTHENTICATED = "3", "8", "16"
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


def forged(count: int) -> list[str]:
    """Keys of the right form and checksum that nobody has, all different."""
    return [new_key(pepper=b"not the installation's").text for _ in range(count)]


async def forge(edge: Edge, *, count: int, source: str = HERE) -> Counter[str]:
    target = Target(host="127.0.0.1", port=edge.port)
    done = await flood(target, forged(count), per_second=10_000, sources=[source] * 2)
    return done.answers


async def answer(edge: Edge, studio: Studio) -> str:
    """Ask for the balance once; returns OK or the reason."""
    async with edge.client(studio.key) as client:
        return await _answer(client)


async def _answer(client: AsyncClient) -> str:
    try:
        await client.get_balance()
    except CallError as error:
        return error.reason
    return "OK"


async def test_a_flood_of_forged_keys_comes_to_the_gateway_at_the_edges_pace(edge: Edge) -> None:
    answers = await forge(edge, count=2_000)

    assert set(answers) == {UNAUTHENTICATED, EXHAUSTED}
    assert 40 <= answers[UNAUTHENTICATED] <= 200
    assert answers.total() == 2_000


async def test_who_is_refused_reads_why_and_when_to_come_again(edge: Edge) -> None:
    await forge(edge, count=200)

    async with edge.client(forged(1)[0]) as client:
        with pytest.raises(RateLimitedError) as raised:
            await client.get_balance()

    status = raised.value.status
    assert status.retry_delay_seconds == 2.0
    assert status.message == ("too many calls with keys that are not known here; retry in 2 s")
    assert [violation.subject for violation in status.violations] == ["edge"]


async def test_a_key_the_gateway_has_accepted_passes_from_the_flooding_address(edge: Edge) -> None:
    studio = await edge.new_studio()
    async with edge.client(studio.key) as client:
        first = await _answer(client)
        flooding = asyncio.create_task(forge(edge, count=3_000))
        answers = [await _answer(client) for _ in range(20)]
        refused = await flooding

    assert first == "OK"
    assert Counter(answers) == {"OK": 20}
    assert refused[EXHAUSTED] > 2_000


async def test_a_key_nobody_has_called_with_passes_from_another_address(edge: Edge) -> None:
    studio = await edge.new_studio()

    refused = await forge(edge, count=1_000, source=ELSEWHERE)

    assert refused[EXHAUSTED] > 500
    assert await answer(edge, studio) == "OK"


async def test_the_hold_of_an_address_ends_by_itself(
    postgres: Postgres, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_directory))
    knobs = {"STRANGERS_WINDOW": "2s", "STRANGERS_PER_ADDRESS_MAX": "20"}
    async with running_edge(postgres, short_directory, knobs=knobs) as edge:
        studio = await edge.new_studio()
        await forge(edge, count=1_000)
        held = await answer(edge, studio)
        patience = RetryPolicy(attempts_max=20)
        async with edge.client(studio.key, retry_policy=patience) as client:
            later = await _answer(client)

    assert (held, later) == ("RATE_LIMITED", "OK")


async def test_strangers_of_many_addresses_are_bounded_in_all(
    postgres: Postgres, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_directory))
    knobs = {"STRANGERS_AT_ONCE_MAX": "50", "STRANGERS_PACE": "1"}
    async with running_edge(postgres, short_directory, knobs=knobs) as edge:
        target = Target(host="127.0.0.1", port=edge.port)
        sources = [f"127.0.1.{number}" for number in range(1, 41)]
        done = await flood(target, forged(1_200), per_second=10_000, sources=sources)

    assert set(done.answers) == {UNAUTHENTICATED, EXHAUSTED}
    assert done.answers[UNAUTHENTICATED] <= 300


async def test_a_revoked_key_is_a_stranger_again(edge: Edge) -> None:
    studio = await edge.new_studio()
    async with edge.client(studio.key) as client:
        await client.get_balance()
        await client.revoke_api_key(studio.key_name)
        # The gateway's own word, which takes the proof away.
        async with asyncio.timeout(60):
            while await _answer(client) != "KEY_REVOKED":
                await asyncio.sleep(0.05)
        await forge(edge, count=200)
        afterwards = await _answer(client)

    assert afterwards == "RATE_LIMITED"


async def test_a_good_key_beside_a_forged_one_opens_nothing(edge: Edge) -> None:
    studio = await edge.new_studio()
    assert await answer(edge, studio) == "OK"

    async with edge.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await BillingServiceStub(channel).GetBalance(
                GetBalanceRequest(name="tenants/-/balance"),
                metadata=(
                    ("authorization", f"Bearer {forged(1)[0]}"),
                    ("authorization", f"Bearer {studio.key}"),
                ),
                timeout=30,
            )

    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert raised.value.details() == "one authorization is enough"


async def test_nothing_that_asks_for_no_key_proves_one(edge: Edge) -> None:
    forger = forged(1)[0]
    async with edge.channel() as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        await health.Check(
            health_pb2.HealthCheckRequest(),
            metadata=(("authorization", f"Bearer {forger}"),),
            timeout=30,
        )
    await forge(edge, count=200)

    async with edge.client(forger) as client:
        assert await _answer(client) == "RATE_LIMITED"


async def test_a_tenants_own_flood_is_refused_at_the_edge_too(
    postgres: Postgres, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_directory))
    knobs = {"CALLS_PER_CREDENTIAL_MAX": "50"}
    async with running_edge(postgres, short_directory, knobs=knobs) as edge:
        greedy, neighbour = await edge.new_studio(), await edge.new_studio()
        assert [await answer(edge, one) for one in (greedy, neighbour)] == ["OK", "OK"]
        target = Target(host="127.0.0.1", port=edge.port)
        done = await flood(target, [greedy.key] * 500, per_second=5_000, sources=[HERE] * 2)

        # The empty request is refused by a gateway that knows its caller.
        assert set(done.answers) == {INVALID, EXHAUSTED}
        assert done.answers[INVALID] < 250
        async with edge.client(greedy.key) as client:
            with pytest.raises(RateLimitedError, match="too many calls with one key"):
                await client.get_balance()
        assert await answer(edge, neighbour) == "OK"


async def test_what_the_edge_refuses_is_counted_and_not_written_down_one_by_one(
    edge: Edge, short_directory: Path
) -> None:
    answers = await forge(edge, count=500)

    assert await metric(edge, "haproxy_frontend_intercepted_requests_total") == answers[EXHAUSTED]
    assert "GetBalance" not in (short_directory / "edge.log").read_text()


async def metric(edge: Edge, name: str) -> int:
    """Read what Prometheus would of those who call."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.metrics_port)
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    found = re.search(rf'^{name}{{proxy="callers"}} (\d+)$', text, re.MULTILINE)
    assert found is not None
    return int(found[1])
