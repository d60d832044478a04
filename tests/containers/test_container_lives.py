"""Workers in containers under a real fleet: drained, adopted, restarted, one after the other."""

import json
import subprocess
import time

import pytest

from tests.containers.docker_engine import DockerEngine
from tests.containers.lives import (
    assert_a_drained_worker_loses_nothing,
    assert_a_fleet_that_was_killed_finds_its_worker_again,
    assert_a_gpu_changes_hands_after_its_worker_has_ended,
    both_ready,
)
from tests.containers.two_studios import (
    ATTACKER,
    MEMORY_BYTES,
    NEIGHBOUR,
    READY_SECONDS,
    TwoStudios,
    assert_is_a_picture,
)
from tests.e2e.installations import eventually

pytestmark = pytest.mark.timeout(900)

# Every process of the container is offered to the kernel first, then memory is taken until it
# needs a victim: the worker's death is the limit's doing and nobody's signal.
USE_UP_MEMORY = """
import os, sys
from pathlib import Path
for adjustment in Path("/proc").glob("[0-9]*/oom_score_adj"):
    if adjustment.parent.name != str(os.getpid()):
        adjustment.write_text("1000")
held = [b"x" * 2**26 for _ in range(int(sys.argv[1]) // 2**26 + 1)]
"""


def containers(engine: DockerEngine) -> set[str]:
    told = engine.docker("ps", "--quiet", "--no-trunc", "--filter", "name=atelier-worker-")
    return set(told.split())


def container_of(engine: DockerEngine, tenant: str) -> str:
    name = f"name=atelier-worker-{tenant}-"
    return engine.docker("ps", "--quiet", "--no-trunc", "--filter", name).strip()


def events(engine: DockerEngine, since: int, *kinds: str) -> list[tuple[str, str, int]]:
    """What happened to containers: event, container, nanoseconds."""
    filters = [word for kind in kinds for word in ("--filter", f"event={kind}")]
    told = engine.docker(
        *("events", "--since", str(since), "--until", str(int(time.time()) + 1)),
        *("--format", "{{json .}}", *filters),
    )
    return [
        (event["Action"], event["Actor"]["Attributes"]["name"], event["timeNano"])
        for event in map(json.loads, told.splitlines())
    ]


def test_a_drained_worker_finishes_or_hands_back_and_is_never_killed(
    contained: TwoStudios, engine: DockerEngine
) -> None:
    began = int(time.time())

    assert_a_drained_worker_loses_nothing(contained)

    signals = [name for _, name, _ in events(engine, began, "oom")]
    assert signals == []


def test_a_killed_fleets_successor_adopts_the_containers_that_run(
    contained: TwoStudios, engine: DockerEngine
) -> None:
    both_ready(contained)
    before = containers(engine)

    assert_a_fleet_that_was_killed_finds_its_worker_again(contained)

    assert len(before) == 2
    assert containers(engine) == before


def test_a_worker_that_the_memory_limit_killed_is_replaced(
    contained: TwoStudios, engine: DockerEngine
) -> None:
    both_ready(contained)
    before, neighbours = container_of(engine, ATTACKER), container_of(engine, NEIGHBOUR)
    began = int(time.time())

    subprocess.run(
        [
            engine.packages.program("usr/bin/docker"),
            *("exec", before, "python", "-c", USE_UP_MEMORY, str(MEMORY_BYTES)),
        ],
        env=engine.environment,
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert eventually(
        lambda: container_of(engine, ATTACKER) not in ("", before), seconds=READY_SECONDS
    )
    both_ready(contained)
    assert_is_a_picture(contained, ATTACKER, contained.draw(ATTACKER))
    assert container_of(engine, NEIGHBOUR) == neighbours
    killed = {name.rpartition("-")[0] for _, name, _ in events(engine, began, "oom")}
    assert {name.removeprefix("atelier-worker-").split("-")[0] for name in killed} == {ATTACKER}


def test_a_gpu_of_one_studio_is_given_to_the_other_after_the_first_container_has_ended(
    contained: TwoStudios, engine: DockerEngine
) -> None:
    both_ready(contained)
    began = int(time.time())

    gpu = assert_a_gpu_changes_hands_after_its_worker_has_ended(contained)

    told = events(engine, began, "start", "die")
    first_end = min(when for what, name, when in told if what == "die" and of(ATTACKER, gpu, name))
    first_start = min(
        when for what, name, when in told if what == "start" and of(NEIGHBOUR, gpu, name)
    )
    assert first_end < first_start


def of(tenant: str, gpu: str, name: str) -> bool:
    return name.startswith(f"atelier-worker-{tenant}-{gpu}-")
