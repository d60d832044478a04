"""The Compose file as an operator uses it: up, a studio, a picture over TLS, its receipt, down."""

import json
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.containers.composed import Composed, composed
from tests.containers.debian_packages import DebianPackages
from tests.containers.docker_engine import DockerEngine, running_engine
from tests.containers.images import collect_wheels, make_base, make_postgres

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]

EXTRAS: Final = ("console", "fleet", "gateway", "housekeeper", "meter", "recorder", "worker")
STUDIO: Final = "spring-studio"
PNG: Final = b"\x89PNG"


@pytest.fixture(scope="module")
def plain_engine(workshop: Path, packages: DebianPackages) -> Generator[DockerEngine]:
    """An engine as it comes: it maps no users, because the meter must see the host's processes."""
    packages.unpack_firewall()
    with running_engine(workshop / "plain-engine", packages, maps_users=False) as engine:
        yield engine


@pytest.fixture(scope="module")
def wheels(workshop: Path, plain_engine: DockerEngine) -> Path:
    """What images are built from, once the bases are there as well."""
    folder = workshop / "compose-wheels"
    with ThreadPoolExecutor() as together:
        waiting = [
            together.submit(collect_wheels, folder, EXTRAS),
            together.submit(make_base, plain_engine, "haproxy"),
            together.submit(make_postgres, plain_engine),
        ]
    for done in waiting:
        done.result()
    return folder


@pytest.fixture(scope="module")
def installation(workshop: Path, plain_engine: DockerEngine, wheels: Path) -> Generator[Composed]:
    with composed(workshop / "compose", plain_engine, wheels) as running:
        yield running
    for kind in ("ps --all", "volume ls"):
        assert plain_engine.docker(*kind.split(), "--quiet") == "", "`down -v` left something"


@pytest.fixture(scope="module")
def operator(installation: Composed) -> str:
    return installation.bootstrap()


@pytest.fixture(scope="module")
def studio(installation: Composed, operator: str) -> str:
    """Return the key of a studio with a price and credit."""
    for command in (
        "admin prices create --book spring --currency EUR --per-image 0.01",
        f"admin tenants create {STUDIO} --currency EUR --price-book spring",
        f"admin credit grant {STUDIO} 50",
    ):
        installation.atelier(*command.split(), key=operator)
    made = answer(installation, f"keys create --tenant {STUDIO}", key=operator)
    return made["secret"]


def answer(installation: Composed, command: str, *, key: str) -> Any:
    return json.loads(installation.atelier(*command.split(), "--format", "json", key=key))


def test_a_studio_draws_a_picture_over_tls_and_gets_its_receipt(
    installation: Composed, studio: str
) -> None:
    told = draw(installation, "a red mug", key=studio)

    (image,) = told["images"]
    (picture,) = (installation.checkout / "a red mug").glob("*.png")
    assert picture.read_bytes().startswith(PNG)
    assert image["state"] == "IMAGE_STATE_SUCCEEDED"
    assert image["receipt"]["price"] == {"currency_code": "EUR", "nanos": "10000000"}
    assert image["receipt"]["energy_source"] == "ENERGY_SOURCE_ESTIMATED"
    assert int(image["receipt"]["energy_millijoules"]) > 0


def draw(installation: Composed, prompt: str, *, key: str) -> Any:
    """Draw one picture into a folder of the prompt's name."""
    told = installation.atelier(
        *("generate", prompt, "--steps", "4", "--size", "128x128"),
        *("--output-dir", prompt, "--format", "json"),
        key=key,
    )
    return json.loads(told)


def test_the_console_is_served_over_tls(installation: Composed) -> None:
    page = installation.page("https://localhost:7433/", "console_tls_certificate")

    assert "<title>" in page


def test_with_the_second_file_a_worker_is_a_container_that_outlives_its_fleet(
    installation: Composed, operator: str, studio: str
) -> None:
    isolated = installation.with_workers_in_containers()
    isolated.compose("up", "--wait", "--no-build")

    told = draw(isolated, "a blue vase", key=studio)
    workers = answer(isolated, "admin workers list", key=operator)
    before = worker_containers(isolated)
    # Its brokers end with its container, and the worker finds the new one.
    isolated.compose("kill", "fleet")
    isolated.compose("up", "--wait", "--no-build")
    later = draw(isolated, "a green vase", key=studio)

    assert told["images"][0]["receipt"]["attempt"] == 1
    assert [(one["launcher"], one["isolated"]) for one in workers] == [("container", True)]
    assert len(before) == 1
    assert isolated.engine.docker(
        "inspect", "--format", "{{.HostConfig.NetworkMode}} {{.Config.User}}", *before
    ).split() == ["none", "20000:20000"]
    assert later["images"][0]["receipt"]["attempt"] == 1
    assert worker_containers(isolated) == before


def worker_containers(installation: Composed) -> list[str]:
    told = installation.engine.docker("ps", "--quiet", "--filter", "name=atelier-worker-")
    return told.split()
