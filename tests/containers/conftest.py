"""What the tests of real isolation share; a machine that lacks something fails loudly."""

import os
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.containers.debian_packages import (
    DebianPackages,
    MissingPrerequisiteError,
    require_programs,
)
from tests.containers.docker_engine import DockerEngine, remove, running_engine
from tests.containers.images import (
    build,
    collect_wheels,
    forget_build_cache,
    free_disk_bytes,
    make_base,
    require_python,
)

DISK_BYTES_NEEDED = 8 * 1024**3
OWN_PACKAGES = ("bubblewrap", "containerd", "mmdebstrap", "runc", "tini")
TARGETS = ("worker", "gateway", "console")
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
    yield folder
    remove(folder)


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
    collect_wheels(wheels, TARGETS)
    make_base(engine)
    digests = {target: build(engine, target, wheels) for target in TARGETS}
    forget_build_cache(engine)
    remove(wheels)
    print(f"\nimages: {engine.docker('system', 'df')}", file=sys.stderr)
    return digests


if os.environ.get("DEVHACK"):

    @pytest.fixture(scope="session")
    def packages() -> DebianPackages:
        return DebianPackages(folder=Path("/tmp/le"))

    @pytest.fixture(scope="session")
    def engine(packages: DebianPackages) -> DockerEngine:
        return DockerEngine(folder=Path("/tmp/le/eng"), packages=packages)

    @pytest.fixture(scope="session")
    def images(engine: DockerEngine) -> dict[str, str]:
        return {
            "worker": engine.docker(
                "image", "inspect", "--format", "{{.Id}}", "atelier/worker"
            ).strip()
        }
