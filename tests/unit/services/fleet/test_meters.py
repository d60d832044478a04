"""The cards of several nodes as one inventory, whoever of them answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.fleet.errors import MeterUnavailableError
from services.fleet.inventory import Gpu, GpuKind, GpuSample
from services.fleet.meters import Meters, addresses_behind
from services.transport.callees import Callee
from services.transport.tls_files import identity_files

SAMPLE = GpuSample(
    temperature_celsius=50.0,
    power_watts=None,
    memory_used_bytes=None,
    utilization=None,
    clock_megahertz=None,
    throttle_reasons=(),
    sample_time=datetime(2026, 1, 1, tzinfo=UTC),
)


def card(gpu_id: str) -> Gpu:
    return Gpu(gpu_id=gpu_id, kind=GpuKind.NVIDIA, sample=SAMPLE)


@dataclass(slots=True)
class Cluster:
    """What a name stands for, and what the meter at each address says."""

    cards: dict[str, list[Gpu]]
    away: set[str] = field(default_factory=set[str])
    callees: list[Callee] = field(default_factory=list[Callee])
    has_names: bool = True

    async def resolve(self, _name: str) -> Sequence[str]:
        if not self.has_names:
            raise OSError("no answer")
        return [*self.cards]


@dataclass(slots=True)
class FakeClient:
    callee: Callee
    cluster: Cluster

    async def list_gpus(self) -> list[Gpu]:
        if self.callee.target in self.cluster.away:
            raise MeterUnavailableError("UNAVAILABLE")
        return self.cluster.cards[self.callee.target]

    async def __aexit__(self, *_: object) -> None:
        self.cluster.callees.remove(self.callee)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster(
        {"ipv4:10.0.0.1:7442": [card("gpu-a")], "ipv4:10.0.0.2:7442": [card("gpu-b")]}
    )

    def client(callee: Callee) -> FakeClient:
        cluster.callees.append(callee)
        return FakeClient(callee, cluster)

    monkeypatch.setattr("services.fleet.meters.MeterClient", client)
    # Looked up at each question, so that no test waits.
    monkeypatch.setattr("services.fleet.meters._LOOK_UP_SECONDS", 0.0)
    return cluster


def meters(cluster: Cluster) -> Meters:
    files = identity_files(Path("/nowhere"))
    return Meters(["meters.atelier-system.svc:7442"], files, resolve=cluster.resolve)


async def listed(source: Meters) -> dict[str, bool]:
    """Each card, and whether its sensors spoke."""
    return {gpu.gpu_id: gpu.sample is not None for gpu in await source.list_gpus()}


async def test_every_address_behind_a_name_is_asked_by_the_names_certificate(
    cluster: Cluster,
) -> None:
    assert await listed(meters(cluster)) == {"gpu-a": True, "gpu-b": True}
    assert {one.server_name for one in cluster.callees} == {"meters.atelier-system.svc"}


async def test_the_cards_of_a_silent_node_stay_in_sight_without_a_sample(cluster: Cluster) -> None:
    source = meters(cluster)
    await source.list_gpus()

    cluster.away.add("ipv4:10.0.0.2:7442")

    assert await listed(source) == {"gpu-a": True, "gpu-b": False}


async def test_a_node_that_was_never_heard_has_no_cards(cluster: Cluster) -> None:
    cluster.away.add("ipv4:10.0.0.2:7442")

    assert await listed(meters(cluster)) == {"gpu-a": True}


async def test_a_node_that_left_the_cluster_takes_its_cards_along(cluster: Cluster) -> None:
    source = meters(cluster)
    await source.list_gpus()

    del cluster.cards["ipv4:10.0.0.1:7442"]

    assert await listed(source) == {"gpu-b": True}
    assert [one.target for one in cluster.callees] == ["ipv4:10.0.0.2:7442"]


async def test_a_meter_that_was_started_anew_at_another_address_is_the_same_card(
    cluster: Cluster,
) -> None:
    source = meters(cluster)
    await source.list_gpus()

    # The old pod is still told of, and silent.
    cluster.away.add("ipv4:10.0.0.1:7442")
    cluster.cards["ipv4:10.0.0.9:7442"] = [card("gpu-a")]

    assert await listed(source) == {"gpu-a": True, "gpu-b": True}


async def test_without_an_answer_of_the_names_nobody_is_forgotten(cluster: Cluster) -> None:
    source = meters(cluster)
    await source.list_gpus()

    cluster.has_names = False

    assert await listed(source) == {"gpu-a": True, "gpu-b": True}


async def test_an_address_stands_for_itself() -> None:
    assert await addresses_behind("127.0.0.1:7442") == ["ipv4:127.0.0.1:7442"]
    assert await addresses_behind("[::1]:7442") == ["ipv6:[::1]:7442"]
