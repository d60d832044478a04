"""The gRPC server: services behind the guard, health and reflection beside it."""

from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.gateway.errors import AddressTakenError
from services.gateway.servicers import Servicers
from services.gateway.services_table import SERVICES
from services.transport.server_certificates import ReloadedCertificates
from services.transport.tls_files import TlsFiles

# Answers with 1,000 images carry their prompts; pictures travel in chunks.
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_KEEP_ALIVE_MILLISECONDS: Final = 30_000
_PING_MILLISECONDS_MIN: Final = 5_000


def build_server(
    *,
    guard: grpc.aio.ServerInterceptor,
    servicers: Servicers,
    health_servicer: health.aio.HealthServicer,
    request_bytes_max: int,
    streams_per_connection_max: int,
) -> grpc.aio.Server:
    """Put a server together; it listens nowhere yet."""
    server = grpc.aio.server(
        interceptors=[guard],
        options=[
            ("grpc.max_receive_message_length", request_bytes_max),
            ("grpc.max_send_message_length", _ANSWER_BYTES_MAX),
            ("grpc.max_concurrent_streams", streams_per_connection_max),
            # Two gateways on one port would share its calls without anybody noticing.
            ("grpc.so_reuseport", 0),
            # A client whose machine vanished is noticed, one that pings too often is sent away.
            ("grpc.keepalive_time_ms", _KEEP_ALIVE_MILLISECONDS),
            ("grpc.http2.min_ping_interval_without_data_ms", _PING_MILLISECONDS_MIN),
        ],
    )
    servicers.add_to(server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    names = [service.full_name for service in SERVICES]
    reflection.enable_server_reflection(
        [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    return server


def listen(server: grpc.aio.Server, address: str, *, tls: TlsFiles | None = None) -> int:
    """Bind a server to an address; returns the port.

    Raises:
        AddressTakenError: it cannot be bound.
        OSError: the certificate's files cannot be read or do not fit one another.
    """
    try:
        if tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, ReloadedCertificates(tls).credentials())
    except RuntimeError as error:
        raise AddressTakenError(f"cannot listen on {address}: is another gateway there?") from error


async def set_serving(health_servicer: health.aio.HealthServicer) -> None:
    """Tell health checks that every service serves."""
    for name in ("", *(service.full_name for service in SERVICES)):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
