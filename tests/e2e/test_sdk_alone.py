"""The customers' package alone: installed into an empty environment, it is light and runs a job."""

import json
import subprocess
import venv
from pathlib import Path

import pytest

from services.standalone.settings import REPOSITORY
from tests.e2e.installations import StartUp
from tests.e2e.studios import address_of, open_studio

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CATALOGUE = """\
[small]
display_name = "Small"
source = "random-checkpoint"
precision = "fp32"
width = { min = 64, max = 64, default = 64 }
height = { min = 64, max = 64, default = 64 }
pixels_max = 4096
num_inference_steps = { min = 1, max = 4, default = 2 }
guidance_scale = { min = 0.0, max = 10.0, default = 4.5 }
max_sequence_length = { min = 16, max = 77, default = 77 }
batch_slots = 2
interactive_slots = 1
"""
# Of the servers, or heavy: a customer's machine gets none of them.
UNWANTED = {"celery", "diffusers", "protovalidate", "psycopg", "pydantic", "torch", "transformers"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the SDK and what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("customer")
    venv.create(folder, with_pip=True)
    sdk = REPOSITORY / "sdk" / "python"
    lock = REPOSITORY / "requirements.lock"
    run(folder, "pip", "install", "--quiet", "--constraint", lock, sdk)
    return folder


def run(environment: Path, program: str, *arguments: object) -> str:
    completed = subprocess.run(
        [environment / "bin" / program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(environment)},
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def test_nothing_of_the_servers_is_installed_with_the_sdk(environment: Path) -> None:
    listed = json.loads(run(environment, "pip", "list", "--format", "json"))

    assert not UNWANTED & {package["name"] for package in listed}


def test_the_sdk_alone_runs_a_job(
    environment: Path, start: StartUp, directory: Path, tmp_path: Path
) -> None:
    (directory / "models.toml").write_text(CATALOGUE)
    up = start().runs()
    key = open_studio(up, "acme")
    (tmp_path / "campaign.csv").write_text("prompt\na red mug\na blue vase\n")

    run(
        environment,
        "atelier",
        *("--address", address_of(up), "--api-key", key),
        *("jobs", "create", "--from", tmp_path / "campaign.csv"),
        *("--wait", "--output-dir", tmp_path / "pictures"),
    )

    pictures = sorted((tmp_path / "pictures").glob("**/*.png"))
    assert len(pictures) == 2
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
