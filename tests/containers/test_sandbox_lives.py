"""Workers in sandboxes under a real fleet: drained, adopted, restarted, one after the other."""

import subprocess
import sys
from pathlib import Path

import pytest

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

# Joins the worker's groups, offers the worker to the kernel first, and takes memory until the limit
# needs a victim.
USE_UP_MEMORY = """
import os, sys
from pathlib import Path
worker, amount, *groups = sys.argv[1:]
for group in groups:
    Path(group).write_text(str(os.getpid()))
Path(f"/proc/{worker}/oom_score_adj").write_text("1000")
held = [b"x" * 2**26 for _ in range(int(amount) // 2**26 + 1)]
"""


def test_a_drained_worker_finishes_or_hands_back_and_is_never_killed(
    sandboxed: TwoStudios,
) -> None:
    assert_a_drained_worker_loses_nothing(sandboxed)


def test_a_killed_fleets_successor_adopts_the_sandboxes_that_run(sandboxed: TwoStudios) -> None:
    assert_a_fleet_that_was_killed_finds_its_worker_again(sandboxed)


def test_a_gpu_of_one_studio_is_given_to_the_other_after_the_first_sandbox_has_ended(
    sandboxed: TwoStudios,
) -> None:
    assert_a_gpu_changes_hands_after_its_worker_has_ended(sandboxed)


def test_a_worker_that_the_memory_limit_killed_is_replaced(sandboxed: TwoStudios) -> None:
    before = both_ready(sandboxed)
    victim = before[ATTACKER].process_id
    groups = memory_groups_of(victim)

    subprocess.run(
        [sys.executable, "-c", USE_UP_MEMORY, str(victim), str(MEMORY_BYTES), *groups],
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert eventually(
        lambda: sandboxed.workers().get(ATTACKER, before[ATTACKER]).process_id != victim,
        seconds=READY_SECONDS,
    )
    after = both_ready(sandboxed)
    assert_is_a_picture(sandboxed, ATTACKER, sandboxed.draw(ATTACKER))
    assert after[NEIGHBOUR].process_id == before[NEIGHBOUR].process_id
    assert after[ATTACKER].restart_count > before[ATTACKER].restart_count


def memory_groups_of(process_id: int) -> list[str]:
    """The files to write a process's number to, so that it shares the worker's limit of memory."""
    (path,) = [
        line.split(":", 2)[2]
        for line in Path(f"/proc/{process_id}/cgroup").read_text().splitlines()
        if line.split(":")[1] in ("memory", "")
    ][:1]
    roots = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
    return [
        str(root / path.lstrip("/") / "cgroup.procs")
        for root in roots
        if (root / path.lstrip("/") / "cgroup.procs").exists()
    ][:1]
