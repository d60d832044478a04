"""What the tests of real isolation share; a machine that lacks something fails loudly."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs]

from tests.containers.debian_packages import (
    DebianPackages,
    MissingPrerequisiteError,
    require_programs,
)
from tests.containers.docker_engine import DockerEngine, running_engine
from tests.containers.images import (
    build,
    collect_wheels,
    forget_build_cache,
    free_disk_bytes,
    make_base,
    require_python,
)
from tests.containers.keeper import kept_clean
from tests.containers.lives import both_ready
from tests.containers.two_studios import GPU_OF_DEVICE, TwoStudios, two_studios


class EngineOrSandbox(LoadScopeScheduling):
    """Of two processes one has the engine and its images, the other the sandboxes."""

    def _split_scope(self, nodeid: str) -> str:
        return "sandbox" if "sandbox" in nodeid else "engine"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> EngineOrSandbox:
    """Share the tests between `-n 2` by what they start."""
    return EngineOrSandbox(config, log)


DISK_BYTES_NEEDED = 8 * 1024**3
OWN_PACKAGES = ("bubblewrap", "containerd", "mmdebstrap", "runc", "tini")
TARGETS: Final[Sequence[str]] = ("worker", "gateway", "console")
NEWER_PACKAGES = ("docker-buildx", "docker-cli", "docker-compose", "docker.io")


@pytest.fixture(scope="session")
def workshop() -> Generator[Path]:
    """A folder for everything, removed at the end whatever happens."""
    if os.geteuid() != 0:
        raise MissingPrerequisiteError("containers, namespaces and users of others need root")
    require_programs()
    require_python()
    folder = Path(tempfile.mkdtemp(prefix="atelier-containers-"))
    # Users of other numbers must get through to what they are given.
    folder.chmod(0o711)
    if free_disk_bytes(folder) < DISK_BYTES_NEEDED:
        raise MissingPrerequisiteError(f"{folder} needs 8 GB of free disk")
    with kept_clean(folder):
        yield folder


@pytest.fixture(scope="session")
def packages(workshop: Path) -> DebianPackages:
    packages = DebianPackages(folder=workshop / "packages")
    packages.unpack(OWN_PACKAGES)
    packages.unpack(NEWER_PACKAGES, newer=True)
    return packages


@pytest.fixture(scope="session")
def engine(workshop: Path, packages: DebianPackages) -> Generator[DockerEngine]:
    with running_engine(workshop / "engine", packages) as engine:
        yield engine


@pytest.fixture(scope="session")
def images(workshop: Path, engine: DockerEngine) -> dict[str, str]:
    """The images of worker, gateway and console by their digests."""
    wheels = workshop / "wheels"
    with ThreadPoolExecutor() as together:
        base = together.submit(make_base, engine)
        collect_wheels(wheels, TARGETS)
        base.result()
        # The builder makes the stages that they share once.
        built = {target: together.submit(build, engine, target, wheels) for target in TARGETS}
    digests = {target: digest.result() for target, digest in built.items()}
    forget_build_cache(engine)
    shutil.rmtree(wheels)
    print(f"\nimages: {engine.docker('system', 'df')}", file=sys.stderr)
    return digests


@pytest.fixture(scope="session")
def container_studios(
    workshop: Path, engine: DockerEngine, images: dict[str, str]
) -> Generator[TwoStudios]:
    """Two studios whose workers are in containers of the engine."""
    settings = {
        "ATELIER_STANDALONE_LAUNCHER": "container",
        "ATELIER_FLEET_CONTAINER_IMAGE": images["worker"],
        "ATELIER_FLEET_CDI_DEVICES": json.dumps(dict(GPU_OF_DEVICE)),
        "DOCKER_HOST": engine.url,
    }
    with two_studios(workshop, settings) as studios:
        yield studios
    assert engine.docker("ps", "--all", "--quiet") == "", "a worker outlived its installation"


@pytest.fixture(scope="session")
def sandbox_studios(workshop: Path, packages: DebianPackages) -> Generator[TwoStudios]:
    """Two studios whose workers are in sandboxes; bubblewrap is found where it was unpacked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", packages.programs)
        with two_studios(workshop, {"ATELIER_STANDALONE_LAUNCHER": "sandbox"}) as studios:
            yield studios


@pytest.fixture
def contained(container_studios: TwoStudios) -> TwoStudios:
    """Both studios have a worker, whatever the test before did to them."""
    both_ready(container_studios)
    return container_studios


@pytest.fixture
def sandboxed(sandbox_studios: TwoStudios) -> TwoStudios:
    """Both studios have a worker, whatever the test before did to them."""
    both_ready(sandbox_studios)
    return sandbox_studios
