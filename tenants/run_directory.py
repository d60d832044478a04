"""Where the sockets of one host are: the one place that knows the names.

A path of a UNIX socket has at most 107 bytes, so the directory's own path must be short.
The tenant of an internal call is the directory its socket lies in, never what a message says.
"""

from dataclasses import dataclass
from pathlib import Path

from tenants.errors import RunDirectoryTooLongError

RUN_DIRECTORY_VARIABLE = "ATELIER_RUN_DIRECTORY"

# sockaddr_un.sun_path of Linux, less its terminating zero.
_SOCKET_PATH_BYTES_MAX = 107
# tenants/<31 bytes>/<gpu id of at most 15 bytes>/meter.sock
_LONGEST_TAIL_BYTES = len("/tenants/") + 31 + len("/") + 15 + len("/meter.sock")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The sockets of one host, by what they are for."""

    path: Path

    def __post_init__(self) -> None:
        if len(bytes(self.path)) + _LONGEST_TAIL_BYTES > _SOCKET_PATH_BYTES_MAX:
            raise RunDirectoryTooLongError(
                f"{self.path} is too long for the sockets in it: "
                f"{_SOCKET_PATH_BYTES_MAX - _LONGEST_TAIL_BYTES} bytes are left for it"
            )

    @property
    def mark(self) -> dict[str, str]:
        """In the environment of every process of this host, so that none is ever lost sight of."""
        return {RUN_DIRECTORY_VARIABLE: str(self.path)}

    @property
    def recorder_meter_socket(self) -> Path:
        """Of the recorder, for the host's meter."""
        return self.path / "recorder-meter.sock"

    @property
    def recorder_gateway_socket(self) -> Path:
        """Of the recorder, for the gateway that reads pictures from the spool."""
        return self.path / "recorder-gateway.sock"

    @property
    def meter_socket(self) -> Path:
        """Of the meter, for the fleet: inventory and temperature."""
        return self.path / "meter.sock"

    @property
    def fleet_directory(self) -> Path:
        """What the fleet notes about the processes it started."""
        return self.path / "fleet"

    @property
    def tenants_directory(self) -> Path:
        return self.path / "tenants"

    def tenant_directory(self, tenant_id: str) -> Path:
        return self.tenants_directory / tenant_id

    def gpu_directory(self, tenant_id: str, gpu_id: str) -> Path:
        """The meter's name for (tenant, GPU): marks that arrive through it are of both."""
        return self.tenant_directory(tenant_id) / gpu_id

    def broker_socket(self, tenant_id: str) -> Path:
        return self.tenant_directory(tenant_id) / "broker.sock"

    def recorder_socket(self, tenant_id: str) -> Path:
        """Of the recorder, for this tenant's workers."""
        return self.tenant_directory(tenant_id) / "recorder.sock"

    def marks_socket(self, tenant_id: str, gpu_id: str) -> Path:
        """Of the meter, for the marks of this tenant's worker on this GPU."""
        return self.gpu_directory(tenant_id, gpu_id) / "meter.sock"


def broker_url(socket: Path) -> str:
    """How kombu is told of a broker that listens on a UNIX socket."""
    return f"redis+socket://{socket}?virtual_host=0"
