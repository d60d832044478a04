"""The examples and the documents' commands against a real installation of `atelier.testing`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from atelier.testing import LocalInstallation, ServersMissingError, Studio, local_installation
from atelier.v1.installation_service_pb2 import FindingState
from tests.architecture.test_document_blocks import documents_module, written_documents
from tests.e2e.installations import eventually

ROOT = Path(__file__).parents[2]
TYPESCRIPT = ROOT / "sdk" / "typescript"
NODE = shutil.which("node")
EXAMPLES = {
    "generate.py": {"mug-1.png", "mug-2.png"},
    "campaign.py": {"1.png", "2.png", "3.png"},
    "watch_with_previews.py": {"chair.png"},
}
PNG = b"\x89PNG"
FAILED = FindingState.FINDING_STATE_FAILED
# The model that ships, with few steps and small pictures: a test wants one, not a beautiful one.
CATALOGUE = f"""\
[atelier-mini]
display_name = "Atelier Mini"
source = "{ROOT}/deploy/models/atelier-mini"
precision = "fp32"
width = {{ min = 64, max = 384, default = 64 }}
height = {{ min = 64, max = 384, default = 64 }}
pixels_max = 147456
num_inference_steps = {{ min = 1, max = 50, default = 2 }}
guidance_scale = {{ min = 0.0, max = 15.0, default = 4.5 }}
max_sequence_length = {{ min = 16, max = 256, default = 77 }}
batch_slots = 4
interactive_slots = 1
"""

pytestmark = [pytest.mark.e2e, pytest.mark.customer, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalInstallation]:
    catalogue = tmp_path_factory.mktemp("catalogue") / "models.toml"
    catalogue.write_text(CATALOGUE)
    environment = {"ATELIER_STANDALONE_DRAIN_SECONDS": "1"}
    with local_installation(model_catalogue=catalogue, environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def studio(installation: LocalInstallation) -> Studio:
    return installation.open_studio("acme")


@pytest.fixture(autouse=True)
def settled(installation: LocalInstallation, studio: Studio) -> None:
    """The fleet brings up a new tenant's broker in a moment; until then a doctor misses it."""
    with installation.operator() as operator:

        def brokers_answer() -> bool:
            findings = {one.check: one.state for one in operator.verify_installation()}
            return findings["brokers"] == FindingState.FINDING_STATE_OK

        assert eventually(brokers_answer, seconds=60)


def run(command: list[str], studio: Studio) -> str:
    finished = subprocess.run(
        command,
        env={**os.environ, **studio.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_draws_its_pictures(example: str, studio: Studio, tmp_path: Path) -> None:
    run([sys.executable, str(ROOT / "examples" / example), str(tmp_path)], studio)

    assert {path.name for path in tmp_path.iterdir()} == EXAMPLES[example]
    assert all(path.read_bytes().startswith(PNG) for path in tmp_path.iterdir())


def test_the_example_of_the_books_saves_an_invoice(studio: Studio, tmp_path: Path) -> None:
    told = run([sys.executable, str(ROOT / "examples" / "books.py"), str(tmp_path)], studio)

    [invoice] = tmp_path.iterdir()
    assert invoice.read_bytes().startswith(b"%PDF-")
    assert "available:" in told


def test_no_example_is_left_out() -> None:
    examples = {path.name for path in (ROOT / "examples").glob("*.py")}

    assert examples == {*EXAMPLES, "books.py"}


@pytest.mark.skipif(
    NODE is None or not (TYPESCRIPT / "node_modules" / ".bin" / "tsc").exists(),
    reason="the TypeScript SDK is not installed: it needs Node 20, then `make setup`",
)
def test_the_examples_in_typescript_draw_their_pictures(studio: Studio, tmp_path: Path) -> None:
    subprocess.run([TYPESCRIPT / "node_modules/.bin/tsc", "--project", TYPESCRIPT], check=True)

    for example in ("generate", "campaign"):
        script = TYPESCRIPT / "dist" / "examples" / f"{example}.js"
        run([str(NODE), str(script), str(tmp_path)], studio)

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mug-1.png", "mug-2.png", "1.png", "2.png", "3.png"}


def test_the_admins_doctor_finds_a_whole_installation_well(
    installation: LocalInstallation, studio: Studio
) -> None:
    with installation.operator() as operator:
        findings = {finding.check: finding for finding in operator.verify_installation()}

    failed = {check: found.message for check, found in findings.items() if found.state == FAILED}
    assert failed == {}
    assert findings["model atelier-mini"].message == "its weights are what their hashes say"
    assert findings["brokers"].message.endswith("tenants answer")


# ------------------------------------------------------------------------------- the documents


def commands_of(document: Path) -> str:
    """What a reader of the document types, from its first block to its last."""
    blocks = documents_module().shell_blocks(document)
    return "\n".join(block.commands for block in blocks if block.runs)


# Needs two database servers and nothing else: tests/integration/docs.
ELSEWHERE = {"backup-and-restore.md"}
DOCUMENTS = sorted(
    str(document.relative_to(ROOT))
    for document in written_documents()
    if commands_of(document) and document.name not in ELSEWHERE
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_of_a_document_work(
    document: str, installation: LocalInstallation, studio: Studio, tmp_path: Path
) -> None:
    # Readers stand in the repository; what they make goes elsewhere.
    (tmp_path / "docker").symlink_to(ROOT / "docker")

    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands_of(ROOT / document)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ATELIER_ADDRESS": installation.address,
            "ATELIER_API_KEY": installation.operator_key,
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_nothing_is_left_when_whoever_started_it_is_killed(tmp_path: Path) -> None:
    program = (
        "import time\n"
        "from atelier.testing import local_installation\n"
        "with local_installation() as installation:\n"
        "    print(installation.directory, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        directory = Path(starter.stdout.readline().decode().strip())
        below = psutil.Process(starter.pid).children(recursive=True)
        starter.kill()

    assert len(below) > 5
    assert eventually(lambda: not any(process.is_running() for process in below), seconds=60)
    shutil.rmtree(directory)


def test_without_the_servers_it_says_how_to_get_them(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    # Isolated from the environment's packages, and so without servers.
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)

    with (
        pytest.raises(ServersMissingError, match="make setup"),
        local_installation(python=str(bare)),
    ):
        pass
