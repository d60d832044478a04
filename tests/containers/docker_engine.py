"""A Docker engine of the tests' own: unpacked, private, in a namespace without any network.

It maps users, hands out fake GPUs by CDI, and keeps everything in one folder.
"""

import json
import os
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psutil

from tests.containers.debian_packages import DebianPackages, MissingPrerequisiteError

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
# Where the engine's users begin outside; far from those of people and services.
FIRST_USER: Final = 1_000_000
USERS: Final = 65_536
USER_NAME: Final = "atelier-remap"
# Two fake GPUs: harmless devices under the names of real ones.
GPUS: Final = {"nvidia.com/gpu=0": "/dev/nvidia0", "nvidia.com/gpu=1": "/dev/nvidia1"}
# Mounts of its own, so that only this engine reads of its users and sees the fake GPUs: with users
# mapped, runc takes devices by the path they shall have. No network, not even the host's. And
# processes of its own: once the first of them is gone, the kernel ends the rest, containers too.
ENTER: Final = """
set -e
mount -t tmpfs -o mode=755 devices "$1/dev"
cp --archive /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$1/dev"
mkdir "$1/dev/pts" "$1/dev/shm" "$1/dev/mqueue"
mount --bind /dev/pts "$1/dev/pts"
mknod "$1/dev/nvidia0" c 1 5
mknod "$1/dev/nvidia1" c 1 7
ln -s pts/ptmx "$1/dev/ptmx"
mount --rbind "$1/dev" /dev
for name in passwd group subuid subgid; do mount --bind "$1/etc/$name" "/etc/$name"; done
perl -e "$UP" lo
exec tini-static -- dockerd --config-file "$1/daemon.json"
"""
# Switches a network interface on (SIOCSIFFLAGS: up and running), where there may be no `ip`.
UP: Final = """
socket(my $socket, 2, 2, 0) or die $!;
ioctl($socket, 0x8914, pack("a16 s x22", $ARGV[0], 0x41)) or die $!;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerEngine:
    """An engine that runs."""

    folder: Path
    packages: DebianPackages
    # Whether root in a container is nobody outside.
    maps_users: bool = True
    # Of `unshare`, whose only child is the first process of the engine's namespaces.
    process_id: int | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        """For its command line."""
        return {
            **os.environ,
            "PATH": self.packages.programs,
            "DOCKER_HOST": self.url,
            "DOCKER_CONFIG": str(self.folder / "client"),
        }

    def docker(
        self,
        *arguments: str | Path,
        limit_seconds: float = 120,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Run `docker …`; its output, or an error with what it complained of."""
        done = subprocess.run(
            [self.packages.program("usr/bin/docker"), *arguments],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_seconds,
        )
        if done.returncode != 0:
            raise AssertionError(f"docker {arguments[0]} failed:\n{done.stderr[-4000:]}")
        return done.stdout


@contextmanager
def running_engine(
    folder: Path, packages: DebianPackages, *, maps_users: bool = True
) -> Generator[DockerEngine]:
    """Run an engine for as long as the block lasts."""
    engine = DockerEngine(folder=folder, packages=packages, maps_users=maps_users)
    prepare(engine)
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--propagation", "slave"),
                *("--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", ENTER, "engine", folder),
            ],
            env={**os.environ, **packages.environment, "UP": UP},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_ready(engine, process)
        yield replace(engine, process_id=process.pid)
    finally:
        stop(process)


def prepare(engine: DockerEngine) -> None:
    folder = engine.folder
    (folder / "etc").mkdir(parents=True)
    (folder / "cdi").mkdir()
    (folder / "dev").mkdir()
    plugins = folder / "client" / "cli-plugins"
    plugins.mkdir(parents=True)
    for plugin in engine.packages.program("usr/libexec/docker/cli-plugins").iterdir():
        (plugins / plugin.name).symlink_to(plugin)
    (folder / "daemon.json").write_text(json.dumps(settings(engine)))
    (folder / "cdi" / "gpus.json").write_text(json.dumps(fake_gpus()))
    lines = {
        "passwd": f"{USER_NAME}:x:65000:65000::/:/usr/sbin/nologin\n",
        "group": f"{USER_NAME}:x:65000:\n",
        "subuid": f"{USER_NAME}:{FIRST_USER}:{USERS}\n",
        "subgid": f"{USER_NAME}:{FIRST_USER}:{USERS}\n",
    }
    for name, line in lines.items():
        own = Path("/etc") / name
        if not own.exists():
            raise MissingPrerequisiteError(f"there is no {own}: apt-get install uidmap login")
        (folder / "etc" / name).write_text(own.read_text() + line)


def settings(engine: DockerEngine) -> Mapping[str, object]:
    folder = engine.folder
    return {
        "data-root": f"{folder}/data",
        "exec-root": f"{folder}/exec",
        "pidfile": f"{folder}/engine.pid",
        "hosts": [engine.url],
        "init-path": str(engine.packages.program("usr/bin/tini-static")),
        **({"userns-remap": USER_NAME} if engine.maps_users else {}),
        "features": {"cdi": True},
        "cdi-spec-dirs": [f"{folder}/cdi"],
        "storage-driver": "overlay2",
        # Networks that a test makes are bridges of their own, with no way out of the namespace.
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "ip-forward": False,
        "ip-masq": False,
    }


def fake_gpus() -> Mapping[str, object]:
    """Describe them as `nvidia-ctk cdi generate` does: each, and all together."""
    nodes = {name.rpartition("=")[2]: [{"path": path}] for name, path in GPUS.items()}
    nodes["all"] = [{"path": path} for path in GPUS.values()]
    return {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [
            {"name": name, "containerEdits": {"deviceNodes": paths}}
            for name, paths in nodes.items()
        ],
    }


def wait_until_ready(engine: DockerEngine, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            engine.docker("info", limit_seconds=10)
        except (AssertionError, subprocess.TimeoutExpired):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = (engine.folder / "engine.log").read_text()[-3000:]
                raise AssertionError(f"the Docker engine does not start:\n{tail}") from None
            time.sleep(0.2)
        else:
            return


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the engine to end; `unshare` itself heeds no signal but the last."""
    for first in psutil.Process(process.pid).children():
        first.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
