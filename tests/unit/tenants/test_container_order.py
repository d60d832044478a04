"""What Docker is asked for, and what the shipped profile lets through."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tenants.ids import SessionId
from tenants.launchers.container_order import (
    SECCOMP_PROFILE,
    ContainerWish,
    container_arguments,
    labels,
)
from tenants.launchers.worker_launcher import WorkerOrder
from tenants.launchers.worker_limits import WorkerLimits

WISH = ContainerWish(
    image="sha256:" + "ab" * 32,
    limits=WorkerLimits(memory_bytes=2**30, processes=100, tmp_bytes=2**20),
    user=20_001,
    cdi_device=None,
    paths_on_host={"/etc/atelier": "/srv/atelier/deploy"},
)
ORDER = WorkerOrder(
    session_id=SessionId("5e5510n0"),
    tenant_id="acme",
    gpu_id="gpu-0",
    device_uuid="GPU-5a",
    model_name="mini",
    model_path="/etc/atelier/models/mini",
    tenant_directory=Path("/run/atelier/tenants/acme"),
    batch_slots=4,
    interactive_slots=1,
    threads=2,
    drain_seconds=84.0,
    log_path=Path("/log"),
    mark={"ATELIER_RUN_DIRECTORY": "/run/atelier"},
)

WAYS_OUT = (
    *("add_key", "bpf", "chroot", "clone", "clone3", "init_module", "io_uring_setup", "kcmp"),
    *("keyctl", "kexec_load", "mknod", "mount", "open_by_handle_at", "perf_event_open"),
    *("pivot_root", "process_vm_readv", "ptrace", "reboot", "request_key", "setns", "socket"),
    *("swapon", "umount2", "unshare", "userfaultfd"),
)


def test_a_worker_is_given_its_tenants_sockets_and_its_model_and_both_to_read_only() -> None:
    asked = container_arguments(ORDER, WISH)

    assert asked["volumes"] == {
        "/run/atelier/tenants/acme": {"bind": "/run/tenant", "mode": "ro"},
        "/srv/atelier/deploy/models/mini": {"bind": "/run/model", "mode": "ro"},
    }
    assert asked["environment"]["ATELIER_WORKER_TENANT_DIRECTORY"] == "/run/tenant"
    assert asked["environment"]["ATELIER_WORKER_MODEL_PATH"] == "/run/model"


def test_a_worker_is_known_by_the_engines_path_so_that_two_installations_keep_their_own() -> None:
    fleet_in_a_container = {"/run/atelier": "/volumes/spring_run/_data"}

    asked = container_arguments(ORDER, replace(WISH, paths_on_host=fleet_in_a_container))

    assert asked["labels"] == {
        "atelier.run-directory": "/volumes/spring_run/_data",
        "atelier.log-path": "/log",
        "com.docker.compose.project": "",
        "com.docker.compose.service": "",
    }
    assert labels(ORDER.mark, {}) == {"atelier.run-directory": "/run/atelier"}


def test_a_worker_is_given_no_network_no_rights_and_no_room_beyond_its_limits() -> None:
    asked = container_arguments(ORDER, WISH)

    assert asked["network_mode"] == "none"
    assert asked["user"] == "20001:20001"
    assert asked["cap_drop"] == ["ALL"]
    assert asked["read_only"]
    assert asked["mem_limit"] == asked["memswap_limit"] == 2**30
    assert asked["pids_limit"] == 100
    assert asked["nano_cpus"] == 2_500_000_000
    assert "noexec" in asked["tmpfs"]["/tmp"]


def test_the_profile_is_handed_over_inline_and_lets_no_way_out_through() -> None:
    asked = container_arguments(ORDER, WISH)
    profile: dict[str, Any] = json.loads(asked["security_opt"][1].removeprefix("seccomp="))
    allowed = {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    }

    assert profile == json.loads(SECCOMP_PROFILE.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert allowed.isdisjoint(WAYS_OUT)
