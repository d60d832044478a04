"""deploy/kubernetes: valid for the releases in use, closed, hardened, and told true settings."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import trustme
import yaml
from pydantic_settings import BaseSettings

import services.console.settings
import services.fleet.settings
import services.gateway.settings
import services.housekeeper.settings
import services.meter.settings
import services.recorder.settings
from tests.architecture.source_tree import ROOT
from tests.integration.certificates import write_identity

BASE: Final = ROOT / "deploy" / "kubernetes" / "base"
EXAMPLE: Final = BASE.parent / "example"
RELEASES: Final = ("1.29", "1.33", "1.37")
COMPONENT: Final = "app.kubernetes.io/component"
IDENTITY: Final = "/run/atelier/identity"
# Kubernetes knows these by definitions of others.
OTHERS: Final = ("cert-manager.io/", "keda.sh/", "monitoring.coreos.com/")
SETTINGS: Final[Mapping[str, type[BaseSettings]]] = {
    "console": services.console.settings.Settings,
    "gateway": services.gateway.settings.Settings,
    "recorder": services.recorder.settings.Settings,
    "fleet": services.fleet.settings.Settings,
    "meter": services.meter.settings.Settings,
    "housekeeper": services.housekeeper.settings.Settings,
}

Manifest = Mapping[str, Any]


def read(path: Path) -> list[Manifest]:
    return [cast("Manifest", one) for one in yaml.safe_load_all(path.read_text())]


def resources() -> Sequence[str]:
    (kustomization,) = read(BASE / "kustomization.yaml")
    return cast("Sequence[str]", kustomization["resources"])


def manifests() -> list[Manifest]:
    return list(chain.from_iterable(read(BASE / name) for name in resources()))


def workloads() -> Mapping[str, Manifest]:
    """By name: the pod of each."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in manifests()
        if one["kind"] in {"Deployment", "DaemonSet", "Job"}
    }


def variables(pod: Manifest) -> Mapping[str, str]:
    return {one["name"]: one["value"] for one in pod["containers"][0]["env"]}


def test_every_file_of_the_base_is_part_of_it() -> None:
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}

    assert {*resources()} == files


@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_of_the_base_is_valid_and_without_unknown_fields(release: str) -> None:
    for one in manifests():
        if not one["apiVersion"].startswith(OTHERS):
            kubernetes_validate.validate(dict(one), release, strict=True)


def test_the_example_names_every_image_of_the_base_by_digest() -> None:
    (example,) = read(EXAMPLE / "kustomization.yaml")
    used = {container["image"] for pod in workloads().values() for container in pod["containers"]}

    named = {one["name"] for one in example["images"] if one["digest"].startswith("sha256:")}

    assert named == used


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_of_a_pod_is_a_setting_of_its_process(name: str) -> None:
    kind = SETTINGS[name]
    prefix = kind.model_config.get("env_prefix", "")
    known = {f"{prefix}{field}".upper() for field in kind.model_fields}
    given = {one for one in variables(workloads()[name]) if one.startswith(prefix)}

    assert given - known == set()


@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_pod_is_told_satisfies_its_settings(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind = SETTINGS[name]
    identity = write_identity(tmp_path, trustme.CA(), f"spiffe://atelier/system/{name}")
    for variable, value in variables(workloads()[name]).items():
        monkeypatch.setenv(variable, str(identity) if value == IDENTITY else value)
    # What comes as files of its secret: docker/make-secrets makes the same names.
    secret_fields = [
        field for field, info in kind.model_fields.items() if "Secret" in str(info.annotation)
    ]

    settings = cast("Any", kind)(**dict.fromkeys(secret_fields, "s" * 32))

    assert set(variables(workloads()[name]))
    assert settings.model_config.get("frozen")


def test_secrets_are_named_and_never_contained() -> None:
    kinds = {one["kind"] for one in manifests()}
    values = [value for pod in workloads().values() for value in variables(pod).values()]

    assert "Secret" not in kinds
    assert [value for value in values if "postgresql://" in value] == []


def test_no_pod_has_a_token_a_root_or_a_way_to_more_rights() -> None:
    for pod in workloads().values():
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert [one for one in pod["volumes"] if "hostPath" in one] == []


def test_a_process_that_hangs_is_ended_though_its_port_still_accepts() -> None:
    alive = {"exec": {"command": ["python", "-m", "services.liveness.alive"]}}
    for name in SETTINGS:
        (container,) = workloads()[name]["containers"]
        assert variables(workloads()[name])["ATELIER_PULSE_PATH"] == "/tmp/pulse"  # noqa: S108 - the pod's own
        assert container["livenessProbe"].items() >= alive.items()


def test_whatever_no_policy_of_the_system_names_is_closed_both_ways() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in manifests() if is_policy(one)}

    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_only_edge_and_console_reach_the_gateway_and_callers_reach_only_these() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in manifests() if is_policy(one)}
    callers = [{"key": COMPONENT, "operator": "In", "values": ["edge", "console"]}]

    (to_gateway,) = policies["gateway"]["ingress"]
    open_to_all = [
        name
        for name, policy in policies.items()
        if any("from" not in rule for rule in policy.get("ingress", ()))
    ]

    assert to_gateway["from"] == [{"podSelector": {"matchExpressions": callers}}]
    assert open_to_all == ["doors"]
    assert policies["doors"]["podSelector"] == {"matchExpressions": callers}


def test_every_knob_of_the_edges_pod_is_one_of_its_configuration() -> None:
    configuration = (ROOT / "docker" / "edge" / "haproxy.cfg").read_text()

    given = variables(workloads()["edge"])

    assert [name for name in given if f"presetenv {name} " not in configuration] == []


def test_no_budget_holds_up_for_ever_who_empties_a_node() -> None:
    budgets = [one["spec"] for one in manifests() if one["kind"] == "PodDisruptionBudget"]

    assert [one["maxUnavailable"] for one in budgets] == [1] * len(budgets)
    assert {one["unhealthyPodEvictionPolicy"] for one in budgets} == {"AlwaysAllow"}


def is_policy(one: Manifest) -> bool:
    return one["kind"] == "NetworkPolicy"


def test_every_process_of_the_system_that_has_an_identity_mounts_its_own() -> None:
    certificates = {
        one["spec"]["secretName"]: one["spec"]["uris"]
        for one in manifests()
        if one["kind"] == "Certificate" and one["metadata"]["namespace"] == "atelier-system"
        if "uris" in one["spec"]
    }
    for name, pod in workloads().items():
        mounted = {one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one}
        for secret in mounted & certificates.keys():
            assert certificates[secret] == [f"spiffe://atelier/system/{name}"]
