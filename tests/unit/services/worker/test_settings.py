"""Whom a worker calls: its directory's sockets, or addresses with a certificate."""

from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from services.worker.settings import Settings
from tests.integration.certificates import write_identity

MODEL = {"model_name": "tiny", "model_path": "models/tiny"}


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    return write_identity(
        tmp_path / "identity", trustme.CA(), "spiffe://atelier/tenant/acme/worker"
    )


def settings(**values: object) -> Settings:
    return Settings.model_validate(MODEL | values)


def test_without_addresses_everybody_is_in_the_tenants_directory() -> None:
    found = settings(tenant_directory="/run/acme", gpu_id="gpu-0")

    assert found.recorder.target == "unix:/run/acme/recorder.sock"
    assert found.meter_of("gpu-0").target == "unix:/run/acme/gpu-0/meter.sock"
    assert found.broker.url == "redis+socket:///run/acme/broker.sock?virtual_host=0"


def test_with_addresses_neither_directory_nor_device_is_needed(identity: Path) -> None:
    found = settings(
        recorder_address="recorder:7441",
        meter_address="meter:7442",
        broker_address="broker:6380",
        identity_directory=identity,
    )

    assert found.recorder.target == "recorder:7441"
    assert found.meter_of("gpu-5a1b2c3d4e5").target == "meter:7442"
    assert found.broker.url == "redis://broker:6380/0"
    assert found.broker.tls_options is not None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"gpu_id": "gpu-0"}, "tenant_directory: needed"),
        ({"tenant_directory": "/run/acme"}, "gpu_id: needed"),
        (
            {"tenant_directory": "/run/acme", "gpu_id": "gpu-0", "recorder_address": "r:1"},
            "recorder_address: needs identity_directory",
        ),
        (
            {
                "tenant_directory": "/run/acme",
                "gpu_id": "gpu-0",
                "broker_address": "b:1",
                "identity_directory": "/nowhere",
            },
            "identity_directory /nowhere",
        ),
    ],
)
def test_a_worker_that_could_not_reach_somebody_does_not_start(
    values: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        settings(**values)
