"""Two tenants' brokers: who reaches which, and what a full one does to the other."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from services.dispatch.errors import BrokerDownError
from services.dispatch.token_publisher import publish_tokens, queue_length
from services.transport.broker_places import BrokerPlaces
from tenants.run_directory import RunDirectory
from tenants.tenant_directories import TenantDirectories, group_of
from tests.integration.brokers import fill, running_broker

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT CHECKED: only root gives tenants users"),
]

# Gives up root for good and then tries one thing; prints what came of it.
_AS_A_TENANT: Final = """
import os, socket, sys
user, deed, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
def ping():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(b"PING\\r\\n")
        return connection.recv(64).decode().strip()
def bind_beside():
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path + "2")
deeds = {
    "ping": ping,
    "unlink": lambda: os.unlink(path),
    "rename": lambda: os.rename(path, path + ".old"),
    "open_to_all": lambda: os.chmod(path, 0o777),
    "bind_beside": bind_beside,
}
try:
    print(deeds[deed]())
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def run(short_directory: Path) -> Generator[RunDirectory]:
    # Tenants pass through to their own directory, as they do below /run.
    short_directory.chmod(0o711)
    run = RunDirectory(short_directory)
    directories = TenantDirectories(run, first_group=210_000)
    with ExitStack() as stack:
        for tenant_id in ("acme", "zeta"):
            directories.make(tenant_id)
            stack.enter_context(running_broker(run, tenant_id))
        yield run


def as_tenant(run: RunDirectory, tenant_id: str, deed: str, *, at: str) -> str:
    """Do it as the tenant's own unprivileged user, to the socket of the tenant `at`."""
    user = group_of(run.tenant_directory(tenant_id))
    tried = subprocess.run(
        [sys.executable, "-I", "-c", _AS_A_TENANT, str(user), deed, run.broker_socket(at)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return tried.stdout.strip()


def test_a_tenants_user_reaches_its_own_broker_and_no_other(run: RunDirectory) -> None:
    answers = [
        as_tenant(run, "acme", "ping", at="acme"),
        as_tenant(run, "zeta", "ping", at="zeta"),
        as_tenant(run, "acme", "ping", at="zeta"),
        as_tenant(run, "zeta", "ping", at="acme"),
    ]

    assert answers == ["+PONG", "+PONG", "PermissionError", "PermissionError"]


@pytest.mark.parametrize("deed", ["unlink", "rename", "open_to_all", "bind_beside"])
@pytest.mark.parametrize("at", ["acme", "zeta"])
def test_a_tenants_user_puts_nothing_in_a_brokers_place(
    run: RunDirectory, deed: str, at: str
) -> None:
    answer = as_tenant(run, "acme", deed, at=at)

    assert answer == "PermissionError"
    assert as_tenant(run, at, "ping", at=at) == "+PONG"


def test_a_full_broker_refuses_tokens_takes_them_when_there_is_room_and_harms_no_neighbour(
    run: RunDirectory,
) -> None:
    brokers = BrokerPlaces(run=run)
    with Redis(unix_socket_path=str(run.broker_socket("acme"))) as acme:
        fill(acme)

        with pytest.raises(BrokerDownError):
            publish_tokens(brokers, tenant_id="acme", model="mini", count=500)
        publish_tokens(brokers, tenant_id="zeta", model="mini", count=500)
        room_for = queue_length(brokers, tenant_id="acme", model="mini")
        acme.delete("hogs")
    publish_tokens(brokers, tenant_id="acme", model="mini", count=500 - room_for)

    # What had room before the refusal was told stays, so a full broker may hold a few.
    assert room_for < 500
    assert queue_length(brokers, tenant_id="acme", model="mini") == 500
    assert queue_length(brokers, tenant_id="zeta", model="mini") == 500
