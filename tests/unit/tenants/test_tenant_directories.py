"""The directories of tenants' sockets: whose they are, and who may enter."""

import os
import stat
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tenants.run_directory import RunDirectory
from tenants.tenant_directories import TenantDirectories, group_of

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT CHECKED: only root gives groups")


@pytest.fixture
def run() -> Generator[RunDirectory]:
    # pytest's own path is too long for a socket's.
    with tempfile.TemporaryDirectory(prefix="atl-") as path:
        yield RunDirectory(Path(path))


@needs_root
def test_each_tenant_has_a_group_of_its_own_which_may_enter_and_not_write(
    run: RunDirectory,
) -> None:
    directories = TenantDirectories(run, first_group=210_000)

    directories.make("acme")
    directories.make("zeta")
    directories.make("acme")
    directories.make_gpu("acme", "gpu-0")

    acme, zeta = run.tenant_directory("acme"), run.tenant_directory("zeta")
    assert (group_of(acme), group_of(zeta)) == (210_000, 210_001)
    assert stat.S_IMODE(acme.stat().st_mode) == 0o2750
    assert group_of(run.gpu_directory("acme", "gpu-0")) == 210_000


@needs_root
def test_what_is_made_in_a_tenants_directory_is_of_the_tenants_group(run: RunDirectory) -> None:
    TenantDirectories(run, first_group=210_000).make("acme")

    run.broker_socket("acme").touch()

    assert run.broker_socket("acme").stat().st_gid == 210_000


@needs_root
def test_a_directory_of_a_launcher_without_groups_is_made_anew(run: RunDirectory) -> None:
    TenantDirectories(run).make("acme")
    run.broker_socket("acme").touch()

    TenantDirectories(run, first_group=210_000).make("acme")

    assert group_of(run.tenant_directory("acme")) == 210_000
    assert list(run.tenant_directory("acme").iterdir()) == []


def test_without_groups_a_directory_is_its_makers(run: RunDirectory) -> None:
    TenantDirectories(run).make("acme")

    assert group_of(run.tenant_directory("acme")) == os.getegid()
