"""The gateway's health check in its container, against a real server with a real certificate."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

DOCKER: Final = Path(__file__).resolve().parents[3] / "docker"
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> grpc.ServerCredentials:
    if shutil.which("openssl") is None:
        pytest.skip("NOT CHECKED: docker/make-secrets needs openssl, which is not here")
    folder = tmp_path_factory.mktemp("docker") / "secrets"
    subprocess.run([DOCKER / "make-secrets", folder], check=True, capture_output=True)
    key = (folder / "gateway_tls_key").read_bytes()
    return grpc.ssl_server_credentials([(key, (folder / "gateway_tls_certificate").read_bytes())])


@contextmanager
def running(credentials: grpc.ServerCredentials | None, *, drains: bool = False) -> Generator[int]:
    servicer = health.HealthServicer()
    servicer.set("", NOT_SERVING if drains else SERVING)
    with ThreadPoolExecutor(max_workers=2) as threads:
        server = grpc.server(threads)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        address = "127.0.0.1:0"
        port = (
            server.add_insecure_port(address)
            if credentials is None
            else server.add_secure_port(address, credentials)
        )
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


def is_healthy(port: int, *, tls: bool) -> bool:
    environment = {**os.environ, "ATELIER_GATEWAY_LISTEN_ADDRESS": f"0.0.0.0:{port}"}
    if tls:
        environment["ATELIER_GATEWAY_TLS_CERTIFICATE_PATH"] = "of the server"
    check = [sys.executable, DOCKER / "gateway_health.py"]
    return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("tls", [True, False])
def test_a_gateway_that_serves_is_healthy(tls: bool, credentials: grpc.ServerCredentials) -> None:
    with running(credentials if tls else None) as port:
        assert is_healthy(port, tls=tls)


def test_a_gateway_that_drains_is_not(credentials: grpc.ServerCredentials) -> None:
    with running(credentials, drains=True) as port:
        assert not is_healthy(port, tls=True)


def test_where_nobody_listens_nothing_is_healthy(credentials: grpc.ServerCredentials) -> None:
    with running(credentials) as port:
        pass

    assert not is_healthy(port, tls=True)
