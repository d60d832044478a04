"""A tenant's namespace on Kubernetes: valid for every release that is in use, and closed."""

from collections.abc import Mapping
from typing import Any, cast

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml

from atelier.cli.tenant_manifest import write_manifest

RELEASES = ("1.29", "1.31", "1.33", "1.35", "1.37")

Manifest = Mapping[str, Any]


def manifests() -> list[Manifest]:
    text = write_manifest("acme", gpus=2, cpus=13, memory_gb=73, system_namespace="atelier")
    return [cast("Manifest", one) for one in yaml.safe_load_all(text)]


def of_kind(kind: str) -> list[Manifest]:
    return [one for one in manifests() if one["kind"] == kind]


@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_is_valid_and_without_unknown_fields(release: str) -> None:
    for one in manifests():
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
        "persistentvolumeclaims": "1",
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
    assert elsewhere == {"atelier", "kube-system"}
