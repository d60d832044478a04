"""What is known already of a run of mutants: one line for each, so that a run can go on later."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Final

ROOT: Final = Path(__file__).parents[2]
# What no mutant's outcome hangs on.
_BESIDE: Final = ("docs/", "benchmarks/results/", "deploy/models/", "CHANGELOG.md", "README.md")


class OutOfTimeError(Exception):
    """The time for this call is over; the next call goes on."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """Outcomes by mutant of one state of the tree, on the disk as soon as they are known."""

    path: Path
    seconds: float
    _outcomes: dict[str, str] = field(default_factory=dict)
    _start: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        if self.path.exists():
            lines = (json.loads(line) for line in self.path.read_text().splitlines())
            self._outcomes = dict(lines)

    def known(self, title: str) -> str | None:
        """What became of a mutant, if it was tried."""
        return self._outcomes.get(title)

    def outcome(self, title: str, attempt: Callable[[], str]) -> tuple[str, str]:
        """Try a mutant, unless it was.

        Raises:
            OutOfTimeError: it would be begun after the time that this call has.
        """
        if title not in self._outcomes:
            if monotonic() - self._start > self.seconds:
                raise OutOfTimeError
            found = attempt()
            self._outcomes[title] = found
            with self.path.open("a") as file:
                file.write(json.dumps([title, found]) + "\n")
            print(f"{found}: {title}", flush=True)
        return title, self._outcomes[title]


def progress_of_this_tree(*, seconds: float) -> Progress:
    """The progress of the files as they are now; a changed line begins anew."""
    digest = sha256()
    for name in tracked_files():
        if not name.startswith(_BESIDE):
            digest.update(name.encode() + (ROOT / name).read_bytes())
    path = ROOT / ".mutants" / f"{digest.hexdigest()[:16]}.jsonl"
    return Progress(path=path, seconds=seconds)


def tracked_files() -> Iterator[str]:
    """The files that git knows and that are there."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return (name for name in names.splitlines() if (ROOT / name).is_file())


def commit_of_this_tree() -> str:
    """The commit, and whether something has been changed since."""
    return subprocess.run(
        ["git", "describe", "--always", "--abbrev=10", "--dirty"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
