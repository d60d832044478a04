"""A tenant's namespace on Kubernetes: valid for every release that is in use, and closed."""

from collections.abc import Mapping
from typing import Any, cast

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml

from atelier.cli.tenant_manifest import write_manifest
from services.fleet.broker import ACCESS_RULES
from services.liveness.pulse import PULSE_VARIABLE
from services.worker.settings import Settings

OTHERS = ("cert-manager.io/", "keda.sh/")
RELEASES = ("1.29", "1.31", "1.33", "1.35", "1.37")

Manifest = Mapping[str, Any]


def manifests() -> list[Manifest]:
    text = write_manifest(
        "acme",
        model="mini",
        gpus=2,
        cpus_per_gpu=4,
        memory_gb_per_gpu=24,
        target_seconds=120,
        worker_image="registry.example/worker@sha256:1",
        broker_image="registry.example/valkey@sha256:2",
        system_namespace="atelier-system",
    )
    return [cast("Manifest", one) for one in yaml.safe_load_all(text)]


def of_kind(kind: str) -> list[Manifest]:
    return [one for one in manifests() if one["kind"] == kind]


@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_is_valid_and_without_unknown_fields(release: str) -> None:
    for one in manifests():
        if one["apiVersion"].startswith(OTHERS):
            continue  # Kubernetes knows these by definitions of others
        kubernetes_validate.validate(dict(one), release, strict=True)


def test_everything_lies_in_the_tenants_own_namespace() -> None:
    namespaces = {one["metadata"].get("namespace") for one in manifests()} - {None}

    assert namespaces == {"atelier-tenant-acme"}
    assert [one["metadata"]["name"] for one in of_kind("Namespace")] == ["atelier-tenant-acme"]


def test_pods_are_restricted_and_carry_no_token() -> None:
    (namespace,) = of_kind("Namespace")
    (account,) = of_kind("ServiceAccount")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert account["metadata"]["name"] == "default"
    assert account["automountServiceAccountToken"] is False


def test_the_quota_bounds_gpus_and_opens_no_way_in() -> None:
    (quota,) = of_kind("ResourceQuota")

    assert quota["spec"]["hard"] == {
        "requests.nvidia.com/gpu": "2",
        "requests.cpu": "13",
        "limits.cpu": "13",
        "requests.memory": "73Gi",
        "limits.memory": "73Gi",
        "pods": "6",
        "services.nodeports": "0",
        "services.loadbalancers": "0",
        "persistentvolumeclaims": "2",
    }


def test_whatever_no_policy_names_is_closed_both_ways() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind("NetworkPolicy")}

    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_no_policy_speaks_of_addresses_or_of_another_tenant() -> None:
    allowed = [
        peer
        for policy in of_kind("NetworkPolicy")
        for rule in (*policy["spec"].get("egress", ()), *policy["spec"].get("ingress", ()))
        for peer in (*rule.get("to", ()), *rule.get("from", ()))
    ]
    elsewhere = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in allowed
        if "namespaceSelector" in peer
    }

    assert [peer for peer in allowed if "ipBlock" in peer] == []
    assert all("podSelector" in peer for peer in allowed)
    assert elsewhere == {"atelier-system", "kube-system"}


def test_a_worker_is_one_gpu_and_drains_before_it_is_killed() -> None:
    (worker,) = of_kind("Deployment")
    pod = worker["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}

    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert variables["ATELIER_WORKER_DRAIN_SECONDS"] == "120"
    assert pod["terminationGracePeriodSeconds"] == 150
    # A surge would ask for a GPU more than the quota has.
    assert worker["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}


def test_a_worker_that_hangs_is_replaced_and_one_that_loads_is_left_alone() -> None:
    (worker,) = of_kind("Deployment")
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    probes = {
        name: container[f"{name}Probe"]["exec"]["command"]
        for name in ("startup", "readiness", "liveness")
    }

    alive = ["python", "-m", "services.liveness.alive"]
    assert probes == {"startup": alive, "readiness": [*alive, "--ready"], "liveness": alive}
    # What hangs altogether does not drain; kubelet would wait for the pod's 150 s otherwise.
    assert container["livenessProbe"]["terminationGracePeriodSeconds"] == 10


def test_every_variable_of_a_worker_is_a_setting_of_it() -> None:
    (worker,) = of_kind("Deployment")
    (container,) = worker["spec"]["template"]["spec"]["containers"]

    known = {f"ATELIER_WORKER_{field}".upper() for field in Settings.model_fields}
    known.add(PULSE_VARIABLE)

    assert {one["name"] for one in container["env"]} - known == set()


def test_a_worker_gets_no_secret_but_its_own_identity() -> None:
    (worker,) = of_kind("Deployment")
    volumes = worker["spec"]["template"]["spec"]["volumes"]

    assert [one["secret"]["secretName"] for one in volumes if "secret" in one] == [
        "worker-identity"
    ]


def test_every_certificate_names_a_process_of_this_tenant() -> None:
    uris = [one["spec"]["uris"] for one in of_kind("Certificate")]

    assert uris == [
        ["spiffe://atelier/tenant/acme/worker"],
        ["spiffe://atelier/tenant/acme/broker"],
    ]


def test_the_broker_speaks_tls_only_and_knows_three_callers_by_their_certificates() -> None:
    (configuration,) = of_kind("ConfigMap")
    settings = configuration["data"]["valkey.conf"].splitlines()
    users = [line.split()[1:3] for line in configuration["data"]["users.acl"].splitlines()]

    assert {"port 0", "tls-port 6380", "tls-auth-clients yes", "tls-auth-clients-user URI"} <= {
        *settings
    }
    assert users == [
        ["default", "off"],
        ["spiffe://atelier/tenant/acme/worker", "on"],
        ["spiffe://atelier/system/gateway", "on"],
        ["spiffe://atelier/system/housekeeper", "on"],
    ]


def test_a_broker_of_a_pod_forbids_what_a_broker_of_the_fleet_forbids() -> None:
    (configuration,) = of_kind("ConfigMap")
    rules = configuration["data"]["users.acl"].splitlines()[1:]

    forbidden = [{word for word in rule.split() if word.startswith("-")} for rule in rules]

    assert forbidden == [{word for word in ACCESS_RULES.split() if word.startswith("-")}] * 3


def test_workers_follow_backlog_and_work_in_flight_and_leave_one_at_a_time() -> None:
    (scaled,) = of_kind("ScaledObject")
    spec = scaled["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]

    assert spec["triggers"][0]["metadata"] == {
        "scalerAddress": "fleet.atelier-system.svc:7443",
        "tenant": "acme",
        "model": "mini",
        "unit": "gpu_seconds",
        "target": "120",
    }
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 2)
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 150}]
    assert spec["cooldownPeriod"] >= 150
