"""A process whose loop stands still ends itself; its pulse tells others until when it lives."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from services.liveness.alive import objection
from services.liveness.pulse import Loop, Pulse

SECOND = 1_000_000_000


@dataclass(slots=True)
class Clock:
    now: int = 100 * SECOND

    def __call__(self) -> int:
        return self.now


@dataclass(slots=True)
class Site:
    """A pulse of two loops by a clock of ours; the engine's longest turn is 60 s."""

    path: Path | None = None
    clock: Clock = field(default_factory=Clock)
    turns: dict[str, int] = field(default_factory=lambda: {"engine": 0, "consumer": 0})
    exit_codes: list[int] = field(default_factory=list[int])
    pulse: Pulse = field(init=False)

    def __post_init__(self) -> None:
        self.pulse = Pulse(
            self.path,
            grace_seconds=30.0,
            end_process=self.exit_codes.append,
            now_nanos=self.clock,
        )
        self.watch(ready=True)

    def watch(self, *, ready: bool) -> None:
        bounds = {"engine": 60.0, "consumer": 120.0}
        loops = [
            Loop(name=name, turns=lambda name=name: self.turns[name], turn_seconds_max=seconds)
            for name, seconds in bounds.items()
        ]
        self.pulse.watch(*loops, ready=ready)

    def pass_seconds(self, seconds: int, *going: str) -> None:
        """Each second these loops come round, and the pulse is looked at."""
        for _ in range(seconds):
            self.clock.now += SECOND
            for name in going:
                self.turns[name] += 1
            self.pulse.look()

    def objection(self, *, in_seconds: int = 0, must_be_ready: bool = False) -> str | None:
        assert self.path is not None
        now_nanos = self.clock.now + in_seconds * SECOND
        return objection(self.path.read_text(), now_nanos=now_nanos, must_be_ready=must_be_ready)


def test_a_worker_whose_loops_come_round_goes_on_for_ever() -> None:
    site = Site()

    site.pass_seconds(1_000, "engine", "consumer")

    assert site.exit_codes == []


def test_a_turn_may_take_as_long_as_its_loop_is_given() -> None:
    site = Site()

    site.pass_seconds(60, "consumer")
    site.pass_seconds(1, "engine", "consumer")

    assert site.exit_codes == []


def test_a_loop_that_stands_still_ends_the_process_whatever_the_others_do() -> None:
    site = Site()

    site.pass_seconds(121, "engine")

    assert site.exit_codes == [70]


def test_time_in_which_the_whole_process_was_stopped_is_no_hanging() -> None:
    site = Site()

    site.clock.now += 3_600 * SECOND
    site.pulse.look()
    site.pass_seconds(30, "engine", "consumer")

    assert site.exit_codes == []


def test_the_probe_passes_while_the_process_is_busy_and_fails_once_it_is_stopped(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path / "pulse")

    site.pass_seconds(50, "engine", "consumer")

    # The engine's 60 s and the grace of 30 s, from the last turn that was seen.
    assert site.objection(in_seconds=90) is None
    assert site.objection(in_seconds=91) == "hangs since 1 s and more"


def test_a_process_that_goes_on_after_a_stop_is_alive_again(tmp_path: Path) -> None:
    site = Site(tmp_path / "pulse")
    site.clock.now += 3_600 * SECOND
    assert site.objection() is not None

    site.pass_seconds(1, "engine", "consumer")

    assert site.objection() is None


def test_one_that_loads_or_drains_is_alive_and_not_ready(tmp_path: Path) -> None:
    site = Site(tmp_path / "pulse")
    assert site.objection(must_be_ready=True) is None

    site.watch(ready=False)

    assert site.objection() is None
    assert site.objection(must_be_ready=True) == "takes no work: it starts or ends"


def test_one_that_should_have_ended_counts_as_hanging_after_the_grace(tmp_path: Path) -> None:
    site = Site(tmp_path / "pulse")

    site.pulse.close()

    assert site.objection(in_seconds=30) is None
    assert site.objection(in_seconds=31) is not None


def test_a_full_disk_does_not_end_the_watching(tmp_path: Path) -> None:
    site = Site(tmp_path / "nowhere" / "pulse")

    site.pass_seconds(121, "engine")

    assert site.exit_codes == [70]


def test_the_probe_is_quick_because_it_loads_nothing_of_the_engine(tmp_path: Path) -> None:
    (tmp_path / "pulse").write_text("1 ready\n")
    report_modules = "import sys, services.liveness.alive; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", report_modules],
        capture_output=True,
        text=True,
        check=True,
    )
    asked = subprocess.run(
        [sys.executable, "-m", "services.liveness.alive"],
        env={**os.environ, "ATELIER_PULSE_PATH": str(tmp_path / "pulse")},
        capture_output=True,
        text=True,
        check=False,
    )

    foreign = {"torch", "grpc", "celery", "structlog", "pydantic", "services.worker.worker"}
    assert foreign & {*loaded.stdout.split()} == set()
    assert asked.returncode == 1
    assert asked.stderr.startswith("hangs since")
