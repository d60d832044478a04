"""An installation of each test's own; whatever it leaves is found and killed."""

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.e2e.installations import CATALOGUE, StartUp, Up, processes_of


@pytest.fixture
def directory() -> Generator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="atelier-up-"))
    directory.chmod(0o755)
    (directory / "models.toml").write_text(CATALOGUE)
    yield directory
    for process in processes_of(directory):
        process.kill()
    shutil.rmtree(directory)


@pytest.fixture
def start(directory: Path) -> Generator[StartUp]:
    started: list[Up] = []

    def start_one() -> Up:
        started.append(Up(directory))
        return started[-1]

    yield start_one
    for up in started:
        if up.process.poll() is None:
            up.stop()
