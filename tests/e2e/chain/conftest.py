"""The chain of one tenant; it goes on from test to test, because a worker takes long to start."""

import asyncio
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.e2e.chain.chain import Chain
from tests.integration.conftest import postgres
from tests.integration.fixture_types import Postgres
from tests.integration.installation import make_tenant_directory, open_studio

__all__ = ["chain", "checkpoint", "postgres"]

# In a process of its own: the test process need not know torch.
_MAKE_CHECKPOINT = (
    "import sys; from pathlib import Path;"
    "from services.engine.random_checkpoint import SMALLEST_SHAPE, ensure_random_checkpoint;"
    "ensure_random_checkpoint(Path(sys.argv[1]), shape=SMALLEST_SHAPE)"
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest genuine model: a step takes milliseconds."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    subprocess.run([sys.executable, "-c", _MAKE_CHECKPOINT, folder], check=True)
    return folder


@pytest.fixture(scope="session")
def chain(postgres: Postgres, checkpoint: Path, request: pytest.FixtureRequest) -> Generator[Chain]:
    studio = asyncio.run(open_studio(postgres, f"t-{secrets.token_hex(6)}"))
    directory = Path(tempfile.mkdtemp(prefix="atl-"))
    run = make_tenant_directory(directory, studio.tenant_id)
    chain = Chain(run=run, studio=studio, checkpoint=checkpoint)
    chain.start()
    yield chain
    chain.end()
    if request.session.testsfailed:
        # What the processes logged is all that tells why.
        print(f"logs of the failed chain: {directory}")
    else:
        shutil.rmtree(directory)
