"""The project's Compose file, brought up on a real engine as an operator would."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import psutil
import yaml

from tests.containers.docker_engine import DockerEngine
from tests.containers.images import BASE, POSTGRES, ROOT

UP_SECONDS: Final = 900
DOWN_SECONDS: Final = 240
CALL_SECONDS: Final = 240
ADDRESS: Final = "https://localhost:7431"
# Those that compose builds from docker/Dockerfile.
BUILT: Final = (
    *("migrate", "checkpoint", "gateway", "edge", "recorder", "meter", "fleet"),
    *("console", "housekeeper"),
)
FETCH: Final = """
import ssl, sys, urllib.request
trusted = ssl.create_default_context(cafile=sys.argv[2])
print(urllib.request.urlopen(sys.argv[1], timeout=30, context=trusted).read().decode())
"""
SETTINGS: Final[Mapping[str, str]] = {
    "ATELIER_BASE_IMAGE": BASE,
    "ATELIER_POSTGRES_IMAGE": POSTGRES,
    "ATELIER_CPU_DEVICE_COUNT": "2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A checkout of the project whose Compose file is used on an engine."""

    checkout: Path
    engine: DockerEngine
    files: Sequence[Path]
    variables: Mapping[str, str] = field(default_factory=lambda: SETTINGS)

    def with_workers_in_containers(self) -> "Composed":
        """The same with the second file, told of this engine as its head says."""
        engine = self.engine
        socket = engine.folder / "docker.sock"
        image = engine.docker("image", "inspect", "--format", "{{.Id}}", "atelier/worker")
        return replace(
            self,
            files=[*self.files, self.checkout / "docker" / "compose.containers.yaml"],
            variables={
                **self.variables,
                "ATELIER_WORKER_IMAGE": image.strip(),
                "ATELIER_DOCKER_GROUP": str(socket.stat().st_gid),
                "ATELIER_DOCKER_SOCKET": str(socket),
                "ATELIER_DOCKER_ROOT": f"{engine.folder}/data",
                "ATELIER_DEPLOY_DIRECTORY": str(self.checkout / "deploy"),
                "ATELIER_WORKER_MEMORY_GB": "3",
            },
        )

    def compose(self, *arguments: str, limit_seconds: float = CALL_SECONDS) -> str:
        files = [word for path in self.files for word in ("--file", str(path))]
        return self.engine.docker(
            "compose", *files, *arguments, limit_seconds=limit_seconds, variables=self.variables
        )

    def bootstrap(self) -> str:
        """Return the first operator's key."""
        told = self.compose("exec", "--no-TTY", "gateway", "atelier-gateway", "bootstrap")
        return told.split()[-1]

    def atelier(self, *arguments: str, key: str) -> str:
        """Run the command line as on the engine's host, where the edge's port is published."""
        return self.beside_the_engine(
            Path(sys.executable).parent / "atelier",
            *arguments,
            variables={
                "ATELIER_ADDRESS": ADDRESS,
                "ATELIER_API_KEY": key,
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.secret("edge_tls_certificate")),
            },
        )

    def page(self, url: str, certificate: str) -> str:
        """Fetch a page that a self-made certificate of docker/make-secrets protects."""
        return self.beside_the_engine(
            sys.executable, "-c", FETCH, url, self.secret(certificate), variables={}
        )

    def beside_the_engine(self, *command: str | Path, variables: Mapping[str, str]) -> str:
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{network_of(self.engine)}/ns/net", *command],
            env={**os.environ, **variables},
            cwd=self.checkout,
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_SECONDS,
        )
        assert done.returncode == 0, f"{command[:4]}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def secret(self, name: str) -> Path:
        return self.checkout / "docker" / "secrets" / name


@contextmanager
def composed(folder: Path, engine: DockerEngine, wheels: Path) -> Generator[Composed]:
    """Bring everything up; take it down with its volumes, whatever happened."""
    checkout = check_out(folder)
    subprocess.run([checkout / "docker" / "make-secrets"], check=True, timeout=60)
    files = [checkout / "docker" / "compose.yaml", without_a_network(checkout, wheels)]
    running = Composed(checkout=checkout, engine=engine, files=files)
    try:
        running.compose("up", "--build", "--wait", limit_seconds=UP_SECONDS)
        yield running
    except BaseException:
        print(running.compose("ps", "--all"), running.compose("logs", "--tail", "40"))
        raise
    finally:
        running.compose("down", "--volumes", limit_seconds=DOWN_SECONDS)


def check_out(folder: Path) -> Path:
    """Copy what git would give an operator, with what is not committed yet."""
    told = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    checkout = folder / "checkout"
    for name in filter(None, told.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    return checkout


def without_a_network(checkout: Path, wheels: Path) -> Path:
    """Write the file that lets compose build where no package index can be reached."""
    settings = checkout / "docker" / "pip.conf"
    settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    build = {
        "network": "none",
        "additional_contexts": {"wheels": str(wheels)},
        "secrets": ["pip_conf"],
    }
    path = checkout / "docker" / "compose.offline.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "services": {name: {"build": build} for name in BUILT},
                "secrets": {"pip_conf": {"file": str(settings)}},
            }
        )
    )
    return path


def network_of(engine: DockerEngine) -> int:
    """Return the process whose network is the engine's."""
    process_id = engine.process_id
    assert process_id is not None
    (first,) = psutil.Process(process_id).children()
    return first.pid
