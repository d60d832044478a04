"""Asks the gateway in this container, by its own health service, whether it serves; exit 0 or 1.

A connection alone would prove less: gRPC's own threads accept it even when Python hangs. The
certificate is the one that the gateway presents, trusted for the name in it, because the question
is not who serves here but whether it does; so certificates of any issuer and name will do.
"""

import os
import socket
import ssl
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

HOST = "127.0.0.1"
ANSWER_SECONDS = 3.0


def main() -> None:
    """Exit 0 when the gateway serves."""
    port = int(os.environ["ATELIER_GATEWAY_LISTEN_ADDRESS"].rpartition(":")[2])
    with open_channel(port, tls="ATELIER_GATEWAY_TLS_CERTIFICATE_PATH" in os.environ) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS
        )
    sys.exit(answer.status != health_pb2.HealthCheckResponse.SERVING)


def open_channel(port: int, *, tls: bool) -> grpc.Channel:
    """Open a channel to the gateway on this container's own loopback."""
    target = f"{HOST}:{port}"
    if not tls:
        return grpc.insecure_channel(target)
    certificate = ssl.get_server_certificate((HOST, port), timeout=ANSWER_SECONDS)
    return grpc.secure_channel(
        target,
        grpc.ssl_channel_credentials(root_certificates=certificate.encode()),
        options=[("grpc.ssl_target_name_override", name_in(certificate, port))],
    )


def name_in(certificate: str, port: int) -> str:
    """Return a name the certificate is made for; Python tells names of a trusted peer only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((HOST, port), timeout=ANSWER_SECONDS) as connection,
        context.wrap_socket(connection) as peer,
    ):
        names = (peer.getpeercert() or {}).get("subjectAltName", ())
    return str(names[0][1]).replace("*", "any")


if __name__ == "__main__":
    main()
