"""Where the sockets lie."""

from pathlib import Path

import pytest

from tenants.errors import RunDirectoryTooLongError
from tenants.run_directory import RunDirectory


def test_the_directory_of_a_socket_names_tenant_and_gpu() -> None:
    run = RunDirectory(Path("/run/atelier"))

    assert run.broker_socket("acme") == Path("/run/atelier/tenants/acme/broker.sock")
    assert run.marks_socket("acme", "cpu-0") == Path("/run/atelier/tenants/acme/cpu-0/meter.sock")


def test_a_directory_that_leaves_no_room_for_its_sockets_is_refused() -> None:
    with pytest.raises(RunDirectoryTooLongError, match="is too long for the sockets in it"):
        RunDirectory(Path("/" + "x" * 60))
