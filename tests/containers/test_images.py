"""The images as they are built, and the compose file as compose reads it."""

import subprocess

import pytest

from tests.containers.docker_engine import DockerEngine
from tests.containers.images import ROOT

pytestmark = pytest.mark.timeout(1500)

BARE = ("--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp")


@pytest.mark.parametrize(
    ("target", "setting"), [("gateway", "page_token_secret"), ("console", "gateway_address")]
)
def test_an_image_starts_and_names_the_settings_it_lacks(
    target: str, setting: str, engine: DockerEngine, images: dict[str, str]
) -> None:
    done = subprocess.run(
        [engine.packages.program("usr/bin/docker"), "run", *BARE, images[target]],
        env=engine.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    assert setting in told


@pytest.mark.parametrize("target", ["gateway", "worker", "console"])
def test_an_image_runs_as_a_user_without_rights(
    target: str, engine: DockerEngine, images: dict[str, str]
) -> None:
    user = engine.docker("run", *BARE, "--entrypoint", "id", images[target], "-u")

    assert user.strip() == "10001"


def test_the_workers_image_brings_no_way_to_the_database(
    engine: DockerEngine, images: dict[str, str]
) -> None:
    script = "import importlib.util as u; print(u.find_spec('psycopg'))"

    found = engine.docker("run", *BARE, "--entrypoint", "python", images["worker"], "-c", script)

    assert found.strip() == "None"


def test_compose_accepts_the_compose_file(engine: DockerEngine) -> None:
    told = engine.docker("compose", "--file", ROOT / "docker" / "compose.yaml", "config", "--quiet")

    assert told == ""
