"""The smallest genuine Stable Diffusion 3.5, made once, and an engine that draws with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.engine.drawing_model import DiffusionModel
from services.engine.engine import Engine
from services.engine.loading import LoadedModel, load_model
from services.engine.random_checkpoint import SMALLEST_SHAPE, ensure_random_checkpoint
from tests.integration.services.engine.drawing_aids import RecordedMarks


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "smallest"
    return ensure_random_checkpoint(folder, shape=SMALLEST_SHAPE)


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> LoadedModel:
    return load_model(str(checkpoint), device="cpu", dtype="float32", marks=RecordedMarks())


@pytest.fixture
def marks() -> RecordedMarks:
    return RecordedMarks()


@pytest.fixture
def engine(model: LoadedModel, marks: RecordedMarks) -> Iterator[Engine]:
    engine = Engine(
        model=DiffusionModel(model), batch_slots=4, interactive_slots=1, marks=marks, threads=1
    )
    engine.start()
    yield engine
    engine.close()
