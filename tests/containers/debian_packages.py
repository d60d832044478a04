"""Programs of Debian that a test needs, unpacked into a folder and not installed.

They come by the machine's own apt: its sources, its proxies, its keys. What the machine's release
has in too old a version is taken from the next one: the machine's source with another suite.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Docker >= 25, which hands out GPUs by CDI; bookworm's is 20.10.
NEWER_SUITE: Final = "trixie"
SOURCES: Final = Path("/etc/apt/sources.list.d")
SOURCES_LIST: Final = Path("/etc/apt/sources.list")
FIREWALL_PACKAGES: Final = (
    *("iptables", "libip4tc2", "libip6tc2", "libmnl0", "libnetfilter-conntrack3"),
    *("libnfnetlink0", "libnftnl11", "libxtables12"),
)
APT_SECONDS: Final = 180


class MissingPrerequisiteError(Exception):
    """This machine lacks what the tests cannot do without; says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianPackages:
    """A folder of unpacked packages."""

    folder: Path

    @property
    def programs(self) -> str:
        """For a PATH that finds them first."""
        root = self.folder / "root"
        return f"{root}/usr/bin:{root}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

    @property
    def environment(self) -> dict[str, str]:
        """For programs whose libraries were unpacked beside them."""
        root = self.folder / "root"
        libraries = sorted(root.glob("usr/lib/*-linux-gnu"))
        return {
            "PATH": self.programs,
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "XTABLES_LIBDIR": ":".join(str(folder / "xtables") for folder in libraries),
        }

    def program(self, path: str) -> Path:
        return self.folder / "root" / path

    def unpack(self, names: Sequence[str], *, newer: bool = False) -> None:
        """Fetch packages and unpack them."""
        suite = NEWER_SUITE if newer else release()
        options = self._options(suite)
        fetched = self.folder / f"fetched-{suite}"
        fetched.mkdir(parents=True, exist_ok=True)
        apt([*options, "download", *names], directory=fetched)
        for package in sorted(fetched.glob("*.deb")):
            subprocess.run(
                ["dpkg-deb", "--extract", package, self.folder / "root"], check=True, timeout=120
            )
        shutil.rmtree(fetched)

    def unpack_firewall(self) -> None:
        """What an engine needs for the names in its networks; Debian links it at installation."""
        self.unpack(FIREWALL_PACKAGES)
        for name in ("iptables", "ip6tables"):
            self.program(f"usr/sbin/{name}").symlink_to("xtables-nft-multi")

    def _options(self, suite: str) -> list[str]:
        """Let apt use lists of its own, so that what the machine has fetched or not is the same."""
        state = self.folder / f"apt-{suite}"
        options = [
            *("-o", "Dir::Etc::sourcelist=/dev/null"),
            *("-o", f"Dir::Etc::sourceparts={state}/sources"),
            *("-o", f"Dir::State::lists={state}/lists"),
            *("-o", f"Dir::Cache={state}/cache"),
        ]
        if not state.exists():
            for folder in ("lists/partial", "cache/archives/partial", "sources"):
                (state / folder).mkdir(parents=True)
            (state / "sources" / "debian.sources").write_text(source_of(suite))
            apt([*options, "update"], directory=state)
        return options


def require_programs() -> None:
    """Raise MissingPrerequisiteError for whatever must be on the machine itself."""
    for program, package in (
        ("apt-get", "a Debian or a relative of it"),
        ("dpkg-deb", "a Debian or a relative of it"),
        ("perl", "apt-get install perl"),
        ("unshare", "apt-get install util-linux"),
        ("nsenter", "apt-get install util-linux"),
    ):
        if shutil.which(program) is None:
            raise MissingPrerequisiteError(f"there is no {program} here: {package}")


def apt(arguments: Sequence[str], *, directory: Path) -> None:
    done = subprocess.run(
        ["apt-get", "--quiet", "--quiet", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=APT_SECONDS,
    )
    if done.returncode != 0:
        raise MissingPrerequisiteError(
            f"apt-get {' '.join(arguments[-6:])} failed; `apt-get update` may help:\n{done.stderr}"
        )


def own_source() -> str:
    """Return the machine's source of its own release, in deb822's form."""
    for text in deb822_texts():
        for paragraph in text.split("\n\n"):
            fields = fields_of(paragraph)
            suites = fields.get("Suites", "").split()
            if "deb" in fields.get("Types", "").split() and release() in suites:
                return "\n".join(
                    f"{name}: {value}" for name, value in {**fields, "Suites": release()}.items()
                )
    raise MissingPrerequisiteError(f"apt knows no source of {release()} in {SOURCES}")


def source_of(suite: str) -> str:
    return own_source().replace(f"Suites: {release()}", f"Suites: {suite}") + "\n"


def fields_of(paragraph: str) -> dict[str, str]:
    lines = [line for line in paragraph.splitlines() if line and not line.startswith("#")]
    pairs = (line.partition(":") for line in lines if not line.startswith(" "))
    return {name: value.strip() for name, _, value in pairs}


def deb822_texts() -> Iterator[str]:
    for path in sorted(SOURCES.glob("*.sources")):
        yield path.read_text()
    lists = [*sorted(SOURCES.glob("*.list")), *([SOURCES_LIST] if SOURCES_LIST.exists() else [])]
    for path in lists:
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] == ["deb"] and len(words) > 3 and not words[1].startswith("["):
                yield (
                    f"Types: deb\nURIs: {words[1]}\nSuites: {words[2]}\n"
                    f"Components: {' '.join(words[3:])}"
                )


def release() -> str:
    """Return this machine's release by name, such as bookworm."""
    words = Path("/etc/os-release").read_text().splitlines()
    for line in words:
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise MissingPrerequisiteError("this is no Debian: /etc/os-release names no VERSION_CODENAME")
