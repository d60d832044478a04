"""The images and the compose file: each process gets its own secrets and no others, and enough."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict
from pydantic_settings import BaseSettings

import database.__main__ as migration
import services.console.settings
import services.fleet.settings
import services.gateway.settings
import services.housekeeper.settings
import services.meter.settings
import services.recorder.settings
from tests.architecture.source_tree import ROOT

DOCKER: Final = ROOT / "docker"
# What each is told through variables or files must satisfy its own settings.
SETTINGS: Final[Mapping[str, type[BaseSettings]]] = {
    "migrate": migration.Settings,
    "console": services.console.settings.Settings,
    "gateway": services.gateway.settings.Settings,
    "recorder": services.recorder.settings.Settings,
    "meter": services.meter.settings.Settings,
    "fleet": services.fleet.settings.Settings,
    "housekeeper": services.housekeeper.settings.Settings,
}
# Who logs in as whom: the processes' table in the design of the project.
ROLES: Final[Mapping[str, set[str]]] = {
    "migrate": {"postgres"},
    "checkpoint": set(),
    "console": set(),
    "edge": set(),
    "gateway": {"atelier_gateway", "atelier_operator"},
    "recorder": {"atelier_recorder", "atelier_meter_intake"},
    "meter": set(),
    "fleet": {"atelier_fleet"},
    "housekeeper": {"atelier_housekeeper"},
}
IMAGES: Final = (
    "gateway",
    "edge",
    "recorder",
    "meter",
    "fleet",
    "housekeeper",
    "console",
    "worker",
)
# Named by settings that are paths.
TLS_FILES: Final = {
    f"{process}_TLS_{kind}" for process in ("GATEWAY", "CONSOLE") for kind in ("CERTIFICATE", "KEY")
}
WITH_DEFAULT: Final = re.compile(r"\$\{\w+:-([^}]*)\}")

Service = Mapping[str, Any]


@pytest.fixture(scope="module")
def compose() -> Mapping[str, Any]:
    text = WITH_DEFAULT.sub(r"\1", (DOCKER / "compose.yaml").read_text())
    return cast("Mapping[str, Any]", yaml.safe_load(text))


@pytest.fixture(scope="module")
def made_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("NOT CHECKED: docker/make-secrets needs openssl, which is not here")
    folder = tmp_path_factory.mktemp("docker") / "secrets"
    subprocess.run([DOCKER / "make-secrets", folder], check=True, capture_output=True)
    return folder


def secret_names(service: Service) -> Sequence[str]:
    given = cast("Sequence[str | Mapping[str, str]]", service.get("secrets", []))
    return [one if isinstance(one, str) else one["source"] for one in given]


def variables(service: Service) -> Mapping[str, str]:
    given = cast("Mapping[str, object]", service.get("environment", {}))
    return {name: "" if value is None else str(value) for name, value in given.items()}


def stages() -> Mapping[str, str]:
    """Each stage of the Dockerfile by name: the lines it consists of."""
    parts = re.split(r"^(?=FROM )", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].split()[-1]: part for part in parts}


def test_docker_compose_accepts_the_compose_file() -> None:
    command = ["docker", "compose"]
    if (
        shutil.which("docker") is None
        or subprocess.run([*command, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("NOT CHECKED: no docker with the compose plugin here reads docker/compose.yaml")

    answer = subprocess.run(
        [*command, "--file", DOCKER / "compose.yaml", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("name", SETTINGS)
def test_what_compose_gives_a_process_satisfies_its_settings(
    name: str,
    compose: Mapping[str, Any],
    made_secrets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = compose["services"][name]
    for secret in secret_names(service):
        shutil.copy(made_secrets / secret, tmp_path)
    for variable, value in variables(service).items():
        monkeypatch.setenv(variable, value)

    settings = SETTINGS[name](_secrets_dir=tmp_path)  # pyright: ignore[reportCallIssue]

    assert settings.model_config.get("env_prefix") == (
        "ATELIER_DATABASE_" if name == "migrate" else f"ATELIER_{name.upper()}_"
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_and_secret_of_a_process_is_one_of_its_settings(
    name: str, compose: Mapping[str, Any]
) -> None:
    service = compose["services"][name]
    kind = SETTINGS[name]
    prefix = kind.model_config.get("env_prefix", "")
    known = {f"{prefix}{field}".upper() for field in kind.model_fields}
    known |= {"ATELIER_SECRETS_DIRECTORY", *TLS_FILES}

    given = {*variables(service), *(secret.upper() for secret in secret_names(service))}

    assert given - known == set()


@pytest.mark.parametrize(
    ("file", "changed", "beside_its_settings"),
    [
        ("compose.containers.yaml", ["fleet"], {"DOCKER_HOST"}),
        ("compose.nvidia.yaml", ["fleet", "meter"], set[str]()),
    ],
)
def test_a_further_file_changes_these_alone_and_names_their_settings(
    file: str, changed: Sequence[str], beside_its_settings: set[str]
) -> None:
    further = cast("Mapping[str, Any]", yaml.safe_load((DOCKER / file).read_text()))
    known = {
        f"ATELIER_{name}_{field}".upper()
        for name in changed
        for field in SETTINGS[name].model_fields
    }
    given = {name for one in further["services"].values() for name in variables(one)}

    assert sorted(further["services"]) == changed
    assert given - known == beside_its_settings


def test_a_first_process_that_is_root_may_pass_a_stop_on_to_a_fleet_that_is_not() -> None:
    isolated = cast(
        "Mapping[str, Any]", yaml.safe_load((DOCKER / "compose.containers.yaml").read_text())
    )
    fleet = isolated["services"]["fleet"]

    assert fleet["user"] == "0:0"
    assert "KILL" in fleet["cap_add"]
    assert "--bounding-set=-all,+chown,+fsetid" in fleet["entrypoint"]


@pytest.mark.parametrize("name", ROLES)
def test_a_process_gets_the_passwords_of_its_own_database_roles_only(
    name: str, compose: Mapping[str, Any], made_secrets: Path
) -> None:
    names = secret_names(compose["services"][name])
    urls = [(made_secrets / secret).read_text().strip() for secret in names if "_url" in secret]

    assert {conninfo_to_dict(url)["user"] for url in urls} == ROLES[name]


def test_every_secret_of_the_compose_file_is_made_and_none_stands_in_a_variable(
    compose: Mapping[str, Any], made_secrets: Path
) -> None:
    words = {path.read_text().strip() for path in made_secrets.iterdir()}
    values = {value for one in compose["services"].values() for value in variables(one).values()}

    assert {path.name for path in made_secrets.iterdir()} == set(compose["secrets"])
    assert values & words == set()


def test_secrets_that_are_there_are_kept(made_secrets: Path) -> None:
    before = {path.name: path.read_text() for path in made_secrets.iterdir()}

    subprocess.run([DOCKER / "make-secrets", made_secrets], check=True, capture_output=True)

    assert {path.name: path.read_text() for path in made_secrets.iterdir()} == before


def test_edge_and_console_are_published_and_on_loopback_alone(
    compose: Mapping[str, Any],
) -> None:
    published = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}

    assert published == {
        "edge": ["127.0.0.1:7431:7431"],
        "console": ["127.0.0.1:7433:7433"],
    }


@pytest.mark.parametrize("process", ["gateway", "edge", "console"])
def test_no_process_holds_the_private_key_of_another(
    process: str, compose: Mapping[str, Any]
) -> None:
    holders = [
        name
        for name, one in compose["services"].items()
        if f"{process}_tls_key" in secret_names(one)
    ]

    assert holders == [process]


def test_every_variable_of_the_edge_is_a_knob_of_its_configuration(
    compose: Mapping[str, Any],
) -> None:
    configuration = (DOCKER / "edge" / "haproxy.cfg").read_text()
    knobs = set(re.findall(r"^ +presetenv (\w+) ", configuration, re.MULTILINE))
    asked = set(re.findall(r"\$(ATELIER_\w+)", configuration))

    assert asked == knobs
    assert set(variables(compose["services"]["edge"])) <= knobs


def test_the_gateway_believes_the_edge_alone_about_who_called(compose: Mapping[str, Any]) -> None:
    gateway, edge = compose["services"]["gateway"], compose["services"]["edge"]
    address = edge["networks"]["door"]["ipv4_address"]
    subnet = ip_network(compose["networks"]["door"]["ipam"]["config"][0]["subnet"])

    assert json.loads(variables(gateway)["ATELIER_GATEWAY_TRUSTED_PROXIES"]) == [address]
    assert ip_address(address) in subnet
    # By one network alone, so that the gateway sees that address.
    assert set(gateway["networks"]) & set(edge["networks"]) == {"door"}


def test_every_process_runs_without_rights_and_on_a_read_only_root(
    compose: Mapping[str, Any],
) -> None:
    ours = {name: one for name, one in compose["services"].items() if name != "postgres"}
    loose = [
        name
        for name, one in ours.items()
        if not one["read_only"]
        or one["cap_drop"] != ["ALL"]
        or one["security_opt"] != ["no-new-privileges:true"]
        or one.get("privileged")
    ]

    assert loose == []


def test_every_image_ends_as_a_user_that_is_not_root() -> None:
    users = {name: re.findall(r"^USER (\S+)$", stages()[name], re.MULTILINE) for name in IMAGES}

    assert {name: found[-1:] for name, found in users.items()} == {
        name: ["10001:10001"] for name in IMAGES
    }


def test_the_workers_image_brings_no_way_to_the_database() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stage = stages()["worker-packages"]
    installed = re.findall(r"--editable '?(\S+?)'?(?: \\)?$", stage, re.MULTILINE)

    assert installed == [".[worker]"]
    assert [found for found in brought_by("worker", project) if "psycopg" in found] == []


def brought_by(extra: str, project: Mapping[str, Any]) -> list[str]:
    """Everything an extra of ours requires, through other extras of ours too."""
    required: list[str] = [*project["dependencies"]]
    for requirement in project["optional-dependencies"][extra]:
        if inner := re.fullmatch(r"atelier-servers\[(.+)\]", requirement):
            for name in inner[1].split(","):
                required += brought_by(name, project)
        else:
            required.append(requirement)
    return required


def test_the_builder_is_given_files_by_name_and_no_secrets() -> None:
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*"
    assert [rule for rule in rules if "secrets" in rule or rule in {"!.", "!docker"}] == []
    assert (DOCKER / ".gitignore").read_text().splitlines()[-1] == "secrets/"
